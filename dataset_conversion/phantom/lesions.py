"""Metastases: where they lie, what they take up, and what an annotator outlines of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.measure import find_contours

from dataset_conversion.annotations.outline import LesionOutline
from dataset_conversion.phantom.anatomy import Body, Site
from dataset_conversion.phantom.camera import blur_sigma_px, depths_mm
from dataset_conversion.phantom.parameters import PhantomParameters
from dataset_conversion.scintigram import View

LABEL = "metastasis"
CLUSTER_PX = 18  # a clustered lesion lies about this far from the one before
MARGIN_PX = 12  # around a lesion's own extent: three times the widest blur, and room for what surrounds it
FEWEST_POINTS = 4


@dataclass(frozen=True)
class Lesion:
    """Activity of one lesion in a window of its plane: (h, w) added uptake at rows top.., columns left.. (px)."""

    activity: np.ndarray
    top: int
    left: int
    plane: int
    outline_level: float

    @property
    def window(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.activity.shape[0]), slice(self.left, self.left + self.activity.shape[1])


def draw_lesions(body: Body, parameters: PhantomParameters) -> list[Lesion]:
    """Draw a patient's lesions onto its bones, some beside the one before; none for a share of the patients."""
    rng = body.rng
    if rng.random() < parameters.lesion_free_share:
        return []
    number = min(int(rng.geometric(1 / parameters.lesions_mean)), parameters.lesions_most)
    weights = np.array([site.weight for site in body.sites])
    lesions: list[Lesion] = []
    last: np.ndarray | None = None
    for _ in range(number):
        if last is not None and rng.random() < parameters.clustered_share:
            near = np.array([np.hypot(*(site.course - last).T).min() for site in body.sites])
            chances = weights * np.exp(-((near / CLUSTER_PX) ** 2))
        else:
            chances, last = weights, None
        site = body.sites[int(rng.choice(len(weights), p=chances / chances.sum()))]
        centre = _point_on(site, last, rng)
        lesion = _lesion_at(centre, site, parameters, body)
        if lesion is not None:
            lesions.append(lesion)
            last = centre
    return lesions


def outline(
    lesion: Lesion, view: View, mean: np.ndarray, counts_per_unit: float, parameters: PhantomParameters
) -> LesionOutline | None:
    """What an annotator draws of a lesion in this view, or None where it does not stand out.

    mean: (H, W) expected counts of the whole view, lesions included, in the frame seen from the front. The outline is the
    contour of the lesion's own noise-free image at `outline_level` of its maximum; points in px with edges at integers.
    """
    depth = depths_mm(parameters, view)[lesion.plane]
    own = ndimage.gaussian_filter(lesion.activity, blur_sigma_px(parameters, depth), truncate=3)
    own = own * (np.exp(-parameters.attenuation_per_mm * depth) * counts_per_unit)
    peak = float(own.max())
    inside = own > lesion.outline_level * peak
    total = mean[lesion.window]
    around = float(np.median(total[~inside & (own > 0.02 * peak)])) if (~inside & (own > 0.02 * peak)).any() else 0.0
    signal_to_noise = own[inside].sum() / max(np.sqrt(total[inside].sum()), 1e-6)
    if peak < parameters.visible_contrast * max(around, 1.0) or signal_to_noise < parameters.visible_signal_to_noise:
        return None
    contours = find_contours(np.pad(own, 1), lesion.outline_level * peak)
    border = max(contours, key=len)[:-1] - 1  # find_contours has pixel centres at integers and closes the ring
    if len(border) < FEWEST_POINTS:
        return None
    x, y = border[:, 1] + 0.5 + lesion.left, border[:, 0] + 0.5 + lesion.top
    height, width = mean.shape
    points = np.stack([np.clip(x, 0, width), np.clip(y, 0, height)], axis=1)
    if view == "posterior":
        points[:, 0] = width - points[:, 0]
    return LesionOutline(LABEL, np.round(points, 3))


def add_to(planes: Sequence[np.ndarray], lesions: Sequence[Lesion]) -> None:
    """Add the lesions' activity to the planes they lie in."""
    for lesion in lesions:
        planes[lesion.plane][lesion.window] += lesion.activity


def _point_on(site: Site, near: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """A point along a bone's course with a little offset across it; `near` another lesion where one is given."""
    steps = np.linspace(0, len(site.course) - 1, 40)
    course = np.stack([np.interp(steps, np.arange(len(site.course)), site.course[:, axis]) for axis in (0, 1)], axis=1)
    if near is None:
        chances = np.ones(len(course))
    else:
        chances = np.exp(-(((np.hypot(*(course - near).T) - CLUSTER_PX * 0.6) / (CLUSTER_PX / 2)) ** 2)) + 1e-9
    point: np.ndarray = course[rng.choice(len(course), p=chances / chances.sum())] + rng.normal(0, 0.35 * site.radius_px, 2)
    return point


def _lesion_at(centre: np.ndarray, site: Site, parameters: PhantomParameters, body: Body) -> Lesion | None:
    """One to four overlapping discs along the bone, soft at the edge; None where the window leaves the image."""
    rng = body.rng
    median, sigma = parameters.lesion_diameter_px
    diameter = float(np.clip(median * np.exp(rng.normal(0, sigma)), *parameters.lesion_diameter_bounds_px))
    median, sigma = parameters.lesion_contrast
    uptake = site.uptake * median * float(np.exp(rng.normal(0, sigma)))
    reach = int(np.ceil(diameter)) + MARGIN_PX
    left, top = int(centre[0]) - reach, int(centre[1]) - reach
    height, width = body.frame.shape
    if left < 0 or top < 0 or left + 2 * reach + 1 > width or top + 2 * reach + 1 > height:
        return None
    row, column = np.mgrid[: 2 * reach + 1, : 2 * reach + 1] + 0.5
    row, column = row + top - centre[1], column + left - centre[0]
    discs = int(rng.integers(1, 5)) if diameter > 4 else 1
    activity = np.zeros(row.shape)
    for index in range(discs):
        offset = rng.normal(0, diameter / 6, 2) if index else np.zeros(2)
        radius = diameter / 2 * (rng.uniform(0.5, 0.85) if discs > 1 else 1.0)
        distance = np.hypot(row - offset[1], column - offset[0])
        activity = np.maximum(activity, np.clip(radius + 0.5 - distance, 0, 1))
    return Lesion((uptake * activity).astype(np.float32), top, left, site.plane, rng.uniform(*parameters.outline_level))
