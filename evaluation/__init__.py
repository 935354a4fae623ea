"""Masks and reference -> tables, statistics, report. Never imports torch, nnunetv2 or DICOM."""
