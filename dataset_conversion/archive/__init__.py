"""Which files of an archive are scans and which are outlines, and whose outlines are whose."""
