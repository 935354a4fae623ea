"""Drawing activity into planes: tubes, ellipsoids and polygons with the profile that a projected solid has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from skimage.draw import polygon2mask

Points = Sequence[tuple[float, float]] | np.ndarray


@dataclass(frozen=True)
class Frame:
    """Body coordinates to pixels: x (mm, to the patient's left) and y (mm, down from the crown) -> column and row.

    Seen from the front; stature and width scale the standard body of 1,740 mm, the tilt turns it a little.
    """

    shape: tuple[int, int]
    spacing_mm: float
    scale_y: float
    scale_x: float
    tilt: float
    shift_mm: tuple[float, float]

    def to_px(self, points: Points) -> np.ndarray:
        """(n, 2) x, y in mm -> (n, 2) column, row in px."""
        xy = np.asarray(points, float) * (self.scale_x, self.scale_y)
        column = (xy[:, 0] - self.tilt * (xy[:, 1] - 600) + self.shift_mm[0]) / self.spacing_mm + self.shape[1] / 2
        row = (xy[:, 1] + self.tilt * xy[:, 0] + self.shift_mm[1]) / self.spacing_mm
        return np.stack([column, row], axis=1)

    def length_px(self, mm: float) -> float:
        return float(mm * (self.scale_x * self.scale_y) ** 0.5 / self.spacing_mm)


class Plane:
    """Activity at one depth: (H, W) float32, drawn into in small windows."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.activity = np.zeros(frame.shape, np.float32)

    def tube(self, points: Points, radius_mm: float | Sequence[float], uptake: float, hollow: float = 0.0) -> None:
        """A bent tube along `points`; its projection is the chord through it. `hollow` in [0, 1) lowers the middle (cortex)."""
        centre = self.frame.to_px(points)
        radius = np.broadcast_to([self.frame.length_px(r) for r in np.atleast_1d(radius_mm)], len(centre))
        window, row, column = self._window(centre, float(radius.max()))
        if window is None:
            return
        start, step = centre[:-1], np.diff(centre, axis=0)
        dx, dy = column[..., None] - start[:, 0], row[..., None] - start[:, 1]
        along = np.clip((dx * step[:, 0] + dy * step[:, 1]) / np.maximum((step**2).sum(1), 1e-6), 0, 1)
        reach = radius[:-1] + along * np.diff(radius)
        relative = np.hypot(dx - along * step[:, 0], dy - along * step[:, 1]) / np.maximum(reach, 0.35)
        nearest = relative.min(axis=-1)
        chord = np.sqrt(np.clip(1 - nearest**2, 0, None))
        if hollow:
            chord -= hollow * np.sqrt(np.clip(0.55 - nearest**2, 0, None))
        self.activity[window] += (uptake * chord).astype(np.float32)

    def ellipsoid(self, centre: tuple[float, float], radii_mm: tuple[float, float], uptake: float, turn: float = 0.0) -> None:
        """A solid ellipsoid at x, y with its lateral and vertical radius, turned by `turn` radians."""
        middle = self.frame.to_px([centre])
        rx, ry = self.frame.length_px(radii_mm[0]), self.frame.length_px(radii_mm[1])
        window, row, column = self._window(middle, max(rx, ry))
        if window is None:
            return
        dx, dy = column - middle[0, 0], row - middle[0, 1]
        u, v = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        chord = np.sqrt(np.clip(1 - (u / max(rx, 0.5)) ** 2 - (v / max(ry, 0.5)) ** 2, 0, None))
        self.activity[window] += (uptake * chord).astype(np.float32)

    def shell(self, centre: tuple[float, float], radii_mm: tuple[float, float], wall: float, uptake: float) -> None:
        """A hollow ellipsoid, as the skull: a solid one less an inner one of (1 - wall) times its size."""
        self.ellipsoid(centre, radii_mm, uptake)
        inner = 1 - wall
        self.ellipsoid(centre, (radii_mm[0] * inner, radii_mm[1] * inner), -uptake * inner)

    def polygon(self, points: Points, uptake: float) -> None:
        """A flat bone of even thickness."""
        corners = self.frame.to_px(points)
        window, _, _ = self._window(corners, 0)
        if window is None:
            return
        offset = (window[1].start, window[0].start)
        shape = (window[0].stop - window[0].start, window[1].stop - window[1].start)
        self.activity[window] += uptake * polygon2mask(shape, (corners - offset)[:, ::-1] - 0.5).astype(np.float32)

    def _window(self, points: np.ndarray, margin: float) -> tuple[tuple[slice, slice] | None, np.ndarray, np.ndarray]:
        """The smallest window that holds the points and a margin, and its pixel centres' rows and columns."""
        height, width = self.frame.shape
        low, high = np.floor(points.min(0) - margin).astype(int) - 1, np.ceil(points.max(0) + margin).astype(int) + 2
        left, top, right, bottom = max(low[0], 0), max(low[1], 0), min(high[0], width), min(high[1], height)
        if left >= right or top >= bottom:
            return None, np.empty(0), np.empty(0)
        row, column = np.mgrid[top:bottom, left:right] + 0.5
        return (slice(top, bottom), slice(left, right)), row, column
