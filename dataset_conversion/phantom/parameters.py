"""Every number of the simulator's patients, camera and annotator, once, with its reason."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class PhantomParameters:
    """Ranges from which each patient is drawn; a test set from other parameters replaces single fields.

    Lengths in mm unless said otherwise, uptake relative to a lumbar vertebra's 1.0.
    """

    shape: tuple[int, int] = (1024, 256)  # px; the matrix of clinical whole-body acquisitions
    spacing_mm: float = 2.26  # of the real scan NM1 and of the MSA-Net paper's data
    counts_per_view: Range = (1.5e6, 3.0e6)  # clinical totals
    stature_mm: Range = (1520, 1880)
    width: Range = (0.9, 1.08)  # lateral scale beside stature
    scoliosis_mm: Range = (0, 9)  # amplitude of the spine's sideways curve
    soft_tissue: Range = (0.24, 0.48)  # uptake of soft tissue over that of bone: renal function and time after injection
    kidney_uptake: Range = (0.3, 1.5)
    bladder_uptake: Range = (1.0, 9.0)  # voided just before, or not
    # Depths of the three planes that bones lie in, seen from the front, in a body 180 mm thick.
    plane_depth_mm: tuple[float, float, float] = (30, 90, 150)
    thickness_mm: float = 180
    attenuation_per_mm: float = 0.0115  # broad-beam, Tc-99m in water with scatter
    intrinsic_fwhm_mm: float = 3.8
    collimator_fwhm_per_mm: float = 0.055  # with the gap below: FWHM 6.7 / 9.6 / 12.7 mm at the planes
    collimator_gap_mm: float = 70  # table, contour distance
    scatter_fraction: float = 0.15
    scatter_fwhm_mm: float = 110
    lesion_free_share: float = 0.22  # patients without metastases
    lesions_mean: float = 5.0  # of the geometric distribution of lesions in a patient who has any
    lesions_most: int = 18
    lesion_diameter_px: tuple[float, float] = (5.0, 0.55)  # median, sigma of the logarithm
    lesion_diameter_bounds_px: Range = (2, 30)
    lesion_contrast: tuple[float, float] = (2.0, 0.55)  # median, sigma of the logarithm; uptake over the bone's own
    clustered_share: float = 0.3  # chance that a lesion lies near the one before
    outline_level: Range = (0.36, 0.52)  # share of a lesion's maximum at which the annotator draws its edge
    visible_contrast: float = 0.3  # a lesion that adds less than this to what lies around it is not outlined ...
    visible_signal_to_noise: float = 4.0  # ... nor one whose counts stand out less than this from Poisson noise


DEFAULT = PhantomParameters()
