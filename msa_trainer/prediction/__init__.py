"""New scans in, findings out: `msa predict`."""
