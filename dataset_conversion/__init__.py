"""Annotated planar bone scans -> nnU-Net raw datasets. Never imports torch or nnunetv2."""
