"""The commands of `msa`, one a file: its options, and what it calls once they are read. Nothing heavy is imported here."""
