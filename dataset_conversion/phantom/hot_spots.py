"""Benign hot spots: what a reader must not take for a metastasis, and a network learns not to."""

from __future__ import annotations

import numpy as np

from dataset_conversion.phantom.anatomy import ANTERIOR, MIDDLE, POSTERIOR, SIDES, Body

# Joints (x, y in mm, plane, radius, chance that it is worn): wear is the commonest hot spot of all.
JOINTS = (
    (156, 308, ANTERIOR, 8, 0.5), (21, 334, ANTERIOR, 8, 0.35), (158, 330, MIDDLE, 15, 0.3), (206, 622, MIDDLE, 11, 0.15),
    (220, 858, MIDDLE, 10, 0.3), (98, 882, MIDDLE, 15, 0.15), (82, 1318, MIDDLE, 14, 0.4), (108, 1318, MIDDLE, 13, 0.3),
    (95, 1302, ANTERIOR, 14, 0.3), (88, 1672, MIDDLE, 12, 0.25), (102, 1732, ANTERIOR, 8, 0.2),
)  # fmt: skip
INJECTION_SHARE = 0.35  # patients whose injection site lies in the field of view
FRACTURE_SHARE = 0.2
CONTAMINATION_SHARE = 0.12


def add_hot_spots(body: Body) -> None:
    """Worn joints and facets, healed rib fractures, the injection site, spilt urine: drawn into the body's planes."""
    rng = body.rng
    wear = rng.uniform(0.3, 1.5)
    for x, y, plane, radius, chance in JOINTS:
        for side in SIDES:
            if rng.random() < chance:
                _blob(body, (side * x, y), plane, radius * rng.uniform(0.7, 1.2), 0.7 * wear * rng.gamma(2, 0.5))
    for level, middle, half, width in body.vertebrae():
        worn = {"C": 0.08, "T": 0.03, "L": 0.14}[level[0]]
        for side in SIDES:
            if rng.random() < worn:
                spot = (body.spine_x(middle) + side * width * 0.8, middle + half)
                _blob(body, spot, POSTERIOR, rng.uniform(4, 8), rng.uniform(0.5, 1.6))
    if rng.random() < FRACTURE_SHARE:
        _rib_fractures(body)
    if rng.random() < INJECTION_SHARE:
        side, up = rng.choice(SIDES), rng.uniform(0, 1)
        spot = (float(side * (206 + 16 * up)), 610 + 260 * up)
        _blob(body, spot, ANTERIOR, rng.uniform(6, 14), float(np.exp(rng.uniform(1.0, 3.2))))
        if rng.random() < 0.4:  # the vein that took it up
            body.planes[ANTERIOR].tube([spot, (float(side * 205), 600), (float(side * 178), 380)], 2.5, rng.uniform(0.3, 1.2))
    if rng.random() < CONTAMINATION_SHARE:
        for _ in range(rng.integers(1, 4)):
            spot = (rng.normal(0, 70), rng.uniform(930, 1150))
            _blob(body, spot, rng.choice([ANTERIOR, POSTERIOR]), rng.uniform(3, 12), rng.uniform(0.6, 5))


def _rib_fractures(body: Body) -> None:
    """Two to five spots in a line over neighbouring ribs: the pattern by which a reader knows them."""
    rng = body.rng
    side, first, number = rng.choice(SIDES), int(rng.integers(2, 7)), int(rng.integers(2, 6))
    plane, x = int(rng.choice([ANTERIOR, POSTERIOR])), rng.uniform(70, 125)
    for index in range(first, first + number):
        _blob(
            body,
            (float(side * (x + rng.normal(0, 5))), 330 + 25.5 * index + rng.normal(0, 3)),
            plane,
            rng.uniform(4, 7),
            rng.uniform(0.4, 1.5),
        )


def _blob(body: Body, centre: tuple[float, float], plane: int, radius_mm: float, uptake: float) -> None:
    body.planes[plane].ellipsoid(centre, (radius_mm, radius_mm * body.rng.uniform(0.8, 1.25)), uptake)
