"""Outlines drawn by readers: one file a format, each reading and writing `LesionOutline`."""
