"""Published packages' figures for random masks, kept as tables that the tests hold ours against.

    python -m venv /tmp/oracle && /tmp/oracle/bin/pip install panoptica==2.1.7
    /tmp/oracle/bin/python benchmarks/evaluation_oracles.py panoptica
    python -m venv /tmp/other && /tmp/other/bin/pip install numpy==1.23.5 scipy==1.10.1 Surface-Distance-Based-Measures==0.1
    /tmp/other/bin/python benchmarks/evaluation_oracles.py surface_distance

Each package needs an environment of its own (surface-distance 0.1 an old numpy), so nothing of this project is imported here.
Writes benchmarks/results/oracle_PACKAGE.csv: 200 cases, each made from its seed alone; the first line says how and by which
versions. `--time MASKS.npz` prints instead the seconds that the package takes for all measures of the given masks.

What agrees, and how: surface-distance (DeepMind; Nikolov et al. 2018): outline lengths, HD95, both directed average distances,
NSD, Dice, in 2-D and 3-D. panoptica: lesions matched one to one above an IoU of 1/2, recognition, segmentation and panoptic
quality, Dice of matched lesions, Dice of the masks; its components are 4-connected in 2-D and 26-connected in 3-D. Its HD95,
ASSD and NSD count border pixels alike instead of weighing outline elements by their length, and its HD95 pools both
directions: they are other measures (here for the whole masks, for the record) and are not compared.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import math
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
CASES = 200
TOLERANCE_MM = 3.0
Case = tuple[np.ndarray, np.ndarray, tuple[float, ...]]


def random_case(seed: int) -> Case:
    """Reference mask, prediction and spacing in mm: 2-D for even seeds, 3-D for odd ones; every 20th has an empty mask."""
    rng = np.random.default_rng(seed)
    dimensions = 2 + seed % 2
    shape = tuple(int(n) for n in (rng.integers(30, 70, 2) if dimensions == 2 else rng.integers(9, 20, 3)))
    spacing = tuple(round(float(mm), 2) for mm in rng.uniform(0.7, 4.0, dimensions))
    reference = _blobs(rng, shape, int(rng.integers(2, 8)))
    moved = np.roll(reference, int(rng.integers(-1, 2)), int(rng.integers(0, dimensions)))
    prediction = (moved & (rng.random(shape) < 0.97)) | _blobs(rng, shape, int(rng.integers(0, 3)))
    if seed % 20 in (8, 9):
        prediction[:] = False
    if seed % 20 in (18, 19):
        reference[:] = False
    return reference, prediction, spacing


def _blobs(rng: np.random.Generator, shape: tuple[int, ...], number: int) -> np.ndarray:
    """Ellipsoids of random place and size, some cut by the image's border."""
    mask = np.zeros(shape, bool)
    grid = np.indices(shape).astype(float)
    for _ in range(number):
        centre = [rng.uniform(0, n) for n in shape]
        radius = [rng.uniform(0.8, 6.0 if len(shape) == 2 else 3.5) for _ in shape]
        mask |= sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radius, strict=True)) <= 1
    return mask


def surface_distance(reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    """Figures of the package surface-distance; without one of the masks only Dice."""
    import surface_distance as package

    row = {"dice": package.compute_dice_coefficient(reference, prediction)}
    if reference.any() and prediction.any():
        found = package.compute_surface_distances(reference, prediction, spacing)
        there, back = package.compute_average_surface_distance(found)
        row |= {
            "hd95_mm": package.compute_robust_hausdorff(found, 95),
            "nsd": package.compute_surface_dice_at_tolerance(found, TOLERANCE_MM),
            "asd_from_reference_mm": there,
            "asd_from_prediction_mm": back,
            "reference_outline": found["surfel_areas_gt"].sum(),
            "predicted_outline": found["surfel_areas_pred"].sum(),
        }
    return row


def panoptica(reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    """Figures of the package panoptica, lesions as it finds them itself, matched at an IoU above 1/2."""
    from panoptica import (
        ConnectedComponentsInstanceApproximator,
        InputType,
        Metric,
        NaiveThresholdMatching,
        Panoptica_Evaluator,
    )

    # The distances raise an error where the masks share no pixel.
    distances = [Metric.HD95, Metric.ASSD, Metric.NSD] if (reference & prediction).any() else []
    evaluator = Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=ConnectedComponentsInstanceApproximator(),
        instance_matcher=NaiveThresholdMatching(matching_threshold=0.5, strict_threshold=True),
        instance_metrics=[Metric.DSC, Metric.IOU],
        global_metrics=[Metric.DSC, *distances],
    )
    found = evaluator.evaluate(prediction.astype(np.uint8), reference.astype(np.uint8), voxelspacing=spacing, verbose=False)[
        "ungrouped"
    ]
    names = {
        "matched": "tp", "spurious": "fp", "missed": "fn", "recognition_quality": "rq", "segmentation_quality": "sq",
        "panoptic_quality": "pq", "dice_matched": "sq_dsc", "dice": "global_bin_dsc", "border_hd95": "global_bin_hd95",
        "border_assd": "global_bin_assd", "border_nsd": "global_bin_nsd",
    }  # fmt: skip
    return {name: _number(found, attribute) for name, attribute in names.items()}


def _number(found: Any, attribute: str) -> float:
    try:
        return float(getattr(found, attribute))
    except Exception:  # panoptica raises its own for what is undefined in a case
        return math.nan


PACKAGES = {
    "panoptica": (panoptica, "panoptica"),
    "surface_distance": (surface_distance, "Surface-Distance-Based-Measures"),
}


def table(package: str) -> list[dict[str, float]]:
    """One row a case, with the masks' pixel numbers to recognise the case by."""
    rows = []
    for seed in range(CASES):
        reference, prediction, spacing = random_case(seed)
        pixels = {"seed": seed, "reference_px": int(reference.sum()), "predicted_px": int(prediction.sum())}
        rows.append(pixels | PACKAGES[package][0](reference, prediction, spacing))
    return rows


def write(package: str, rows: list[dict[str, float]]) -> None:
    names = list(max(rows, key=len))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in (PACKAGES[package][1], "numpy", "scipy"))
    with (RESULTS / f"oracle_{package}.csv").open("w", newline="", encoding="utf-8") as file:
        file.write(f"# python benchmarks/evaluation_oracles.py {package}; Python {platform.python_version()}, {versions}\n")
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            defined = {name: value for name, value in row.items() if not math.isnan(value)}
            writer.writerow({name: f"{value:.12g}" if isinstance(value, float) else value for name, value in defined.items()})


def seconds(package: str, masks: Path) -> float:
    """Time for all cases of an .npz file with reference and prediction (cases, H, W) and spacing, after one to warm up."""
    with np.load(masks) as content:
        pairs = list(zip(content["reference"], content["prediction"], strict=True))
        spacing = tuple(float(mm) for mm in content["spacing"])
    measure = PACKAGES[package][0]
    measure(*pairs[0], spacing)
    start = time.perf_counter()
    for reference, prediction in pairs:
        measure(reference, prediction, spacing)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", choices=sorted(PACKAGES))
    parser.add_argument("--time", type=Path, metavar="MASKS.npz")
    arguments = parser.parse_args()
    if arguments.time:
        print(seconds(arguments.package, arguments.time))
    else:
        write(arguments.package, table(arguments.package))


if __name__ == "__main__":
    main()
