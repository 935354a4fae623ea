"""The gamma camera: depth-dependent blur and attenuation, scatter, Poisson counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from dataset_conversion.phantom.parameters import PhantomParameters
from dataset_conversion.scintigram import View

FWHM_PER_SIGMA = 2.3548
SCATTER_GRID = 8  # px; scatter is so smooth that it is computed on a grid this coarse


def depths_mm(parameters: PhantomParameters, view: View) -> tuple[float, ...]:
    """Depth of the three planes as this view's camera sees them."""
    front = parameters.plane_depth_mm
    return front if view == "anterior" else tuple(parameters.thickness_mm - depth for depth in front)


def blur_sigma_px(parameters: PhantomParameters, depth_mm: float) -> float:
    """Intrinsic and collimator resolution in quadrature, at a depth in the body."""
    collimator = parameters.collimator_fwhm_per_mm * (depth_mm + parameters.collimator_gap_mm)
    return float(np.hypot(parameters.intrinsic_fwhm_mm, collimator)) / FWHM_PER_SIGMA / parameters.spacing_mm


def seen(activity: np.ndarray, depth_mm: float, parameters: PhantomParameters) -> np.ndarray:
    """Attenuated and blurred activity of one depth: (H, W) float32 -> the same."""
    blurred: np.ndarray = ndimage.gaussian_filter(activity, blur_sigma_px(parameters, depth_mm), truncate=3)
    attenuated: np.ndarray = blurred * np.float32(np.exp(-parameters.attenuation_per_mm * depth_mm))
    return attenuated


def projection(planes: Sequence[np.ndarray], view: View, parameters: PhantomParameters) -> np.ndarray:
    """What a camera would see without noise, in relative units, still in the frame seen from the front."""
    primary: np.ndarray = sum(
        (seen(plane, depth, parameters) for plane, depth in zip(planes, depths_mm(parameters, view), strict=True)),
        np.zeros_like(planes[0]),
    )
    total: np.ndarray = primary + scatter(primary, parameters)
    return total


def scatter(primary: np.ndarray, parameters: PhantomParameters) -> np.ndarray:
    """A smooth pedestal that holds `scatter_fraction` of the primary counts."""
    height, width = primary.shape
    coarse = primary.reshape(height // SCATTER_GRID, SCATTER_GRID, width // SCATTER_GRID, SCATTER_GRID).mean((1, 3))
    sigma = parameters.scatter_fwhm_mm / FWHM_PER_SIGMA / parameters.spacing_mm / SCATTER_GRID
    smooth = ndimage.zoom(ndimage.gaussian_filter(coarse, sigma, mode="constant"), SCATTER_GRID, order=1)
    pedestal: np.ndarray = (parameters.scatter_fraction * smooth).astype(np.float32)
    return pedestal


def as_camera_sees(image: np.ndarray, view: View) -> np.ndarray:
    """From the frame seen from the front to the view's own: the posterior camera sees left and right exchanged."""
    return image if view == "anterior" else np.ascontiguousarray(image[:, ::-1])
