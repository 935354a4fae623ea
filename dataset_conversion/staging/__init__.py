"""From a scan and its outlines to the files of its views, in worker processes; unchanged ones are taken over."""
