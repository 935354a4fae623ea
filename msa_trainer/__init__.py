"""MSA-Net-style adversarial segmentation of planar bone scans inside nnU-Net v2 (research use only)."""

__version__ = "0.1.0"
