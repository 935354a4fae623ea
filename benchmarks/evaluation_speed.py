"""What `msa evaluate` takes: time and memory for 286 and 10,000 whole-body views, and beside published packages.

    python benchmarks/evaluation_speed.py [--jobs 2] [--large 10000] [--panoptica PYTHON] [--surface-distance PYTHON]

All measures without report and viewer, with images and probabilities, each size in a process of its own. PYTHON: interpreters
of environments that hold the packages (see evaluation_oracles.py); they measure the same 286 pairs of masks in memory, each in
turn with ours doing the same share of the work in one process, three rounds, median. Writes
benchmarks/results/evaluation_speed.csv. cpu_seconds, imports included, say how much of the wall time was this program's: where
they are far below seconds x cores, the machine had other work.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "evaluation_speed.csv"
CASES, SHAPE, SPACING = 286, (1024, 256), (2.26, 2.26)
ROUNDS = 3
FIELDS = ("what", "images", "jobs", "seconds", "cpu_seconds", "main_mib", "largest_worker_mib", "ratio", "machine", "commit")


def view(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Reference, prediction, image of counts + 1 and lesion probability of a view with up to a dozen lesions."""
    from scipy import ndimage

    rows, columns = np.indices(SHAPE, sparse=True)
    reference, shifted = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    for _ in range(int(rng.integers(0, 13))):
        row, column = rng.uniform(60, SHAPE[0] - 60), rng.uniform(40, SHAPE[1] - 40)
        radii, shift = rng.uniform(1.5, 9, 2), rng.normal(0, 1.0, 2)
        ellipse = ((rows - row) / radii[0]) ** 2 + ((columns - column) / radii[1]) ** 2 <= 1
        reference |= ellipse
        if rng.random() < 0.8:
            moved = ((rows - row - shift[0]) / radii[0]) ** 2 + ((columns - column - shift[1]) / radii[1]) ** 2 <= 1.1
            shifted |= moved
    for _ in range(int(rng.integers(0, 4))):
        row, column = int(rng.integers(20, SHAPE[0] - 20)), int(rng.integers(20, SHAPE[1] - 20))
        shifted[row : row + 4, column : column + 3] = True
    body = ((rows - 512) / 470) ** 2 + ((columns - 128) / 70) ** 2 <= 1
    image = rng.poisson(0.2 + 6 * body + 20 * ndimage.gaussian_filter(reference.astype(float), 1.5)) + 1
    probability = np.clip(ndimage.gaussian_filter(shifted.astype(np.float32), 0.7) * rng.uniform(0.6, 1.0), 0, 1)
    return reference, probability >= 0.4, image.astype(np.float32), probability.astype(np.float32)


def write_views(folder: Path) -> None:
    """CASES views as nnU-Net would leave them, with a manifest of two views a patient."""
    import SimpleITK as sitk  # noqa: N813

    for name in ("r", "p", "i", "n"):
        (folder / name).mkdir(parents=True)
    lines = ["case,patient,view"]
    for index in range(CASES):
        reference, prediction, image, probability = view(np.random.default_rng(index))
        case = f"P{index // 2:05d}_{'ap'[index % 2]}"
        for name, pixels in ((f"r/{case}", reference), (f"p/{case}", prediction), (f"i/{case}_0000", image)):
            written = sitk.GetImageFromArray(pixels.astype(np.uint8) if pixels.dtype == bool else pixels)
            written.SetSpacing(SPACING)
            sitk.WriteImage(written, str(folder / f"{name}.nii.gz"), True)
        np.savez_compressed(folder / "n" / f"{case}.npz", probabilities=np.stack([1 - probability, probability])[:, None])
        lines.append(f"{case},P{index // 2:05d},{('anterior', 'posterior')[index % 2]}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def multiply(folder: Path, target: Path, number: int) -> None:
    """The same views under `number` names, by links, every patient anew."""
    lines = ["case,patient,view"]
    cases = sorted(path.name.removesuffix(".nii.gz") for path in (folder / "r").iterdir())
    for name in ("r", "p", "i", "n"):
        (target / name).mkdir(parents=True)
    for index in range(number):
        source, case = cases[index % len(cases)], f"P{index // 2:05d}_{'ap'[index % 2]}"
        for name, end in (("r", ".nii.gz"), ("p", ".nii.gz"), ("i", "_0000.nii.gz"), ("n", ".npz")):
            (target / name / f"{case}{end}").symlink_to((folder / name / f"{source}{end}").resolve())
        lines.append(f"{case},P{index // 2:05d},{('anterior', 'posterior')[index % 2]}")
    (target / "manifest.csv").write_text("\n".join(lines) + "\n")


def evaluate_folder(folder: Path, jobs: int) -> dict[str, float]:
    """Time and peak memory of one evaluation in this process, its worker processes apart."""
    from evaluation.evaluate import EvaluationOptions, evaluate, tables_as_csv

    options = EvaluationOptions(
        folder / "r",
        folder / "p",
        folder / "out",
        cases=folder / "manifest.csv",
        images=folder / "i",
        probabilities=folder / "n",
        jobs=jobs,
    )
    start = time.perf_counter()
    evaluation = evaluate(options)
    tables_as_csv(evaluation)
    json.dumps(evaluation.summary, allow_nan=False)
    elapsed = time.perf_counter() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    # Not this process's ru_maxrss: that begins with the memory of the process which started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    worker = used[1].ru_maxrss / 1024
    return {"seconds": elapsed, "cpu_seconds": cpu, "main_mib": peak, "largest_worker_mib": worker}


def in_own_process(*arguments: str) -> Any:
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def our_seconds(package: str, masks: Path) -> float:
    """Time of what the package measures, by our functions, in this process."""
    from evaluation import metrics
    from evaluation.boundary import boundary_measures
    from evaluation.lesions import connected_components
    from evaluation.matching import match_lesions, panoptic_matches

    with np.load(masks) as content:
        pairs = list(zip(content["reference"], content["prediction"], strict=True))
        spacing = tuple(float(mm) for mm in content["spacing"])

    def measure(reference: np.ndarray, prediction: np.ndarray) -> None:
        metrics.dice(*metrics.pixel_counts(reference, prediction))
        boundary_measures(reference, prediction, spacing)
        if package == "panoptica":
            panoptic_matches(match_lesions(connected_components(reference)[0], connected_components(prediction)[0], "iou"))

    measure(*pairs[0])
    start = time.perf_counter()
    for pair in pairs:
        measure(*pair)
    return time.perf_counter() - start


def beside(package: str, python: Path, masks: Path) -> dict[str, float]:
    """Median times of the package and of ours in turn, and the median of their ratios."""
    script = str(Path(__file__).with_name("evaluation_oracles.py"))
    theirs, ours = [], []
    for _ in range(ROUNDS):
        command = [str(python), "-W", "ignore", script, package, "--time", str(masks)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        theirs.append(float(printed.strip().splitlines()[-1]))
        ours.append(in_own_process("--ours", package, "--masks", str(masks)))
    ratios = [one / other for one, other in zip(theirs, ours, strict=True)]
    return {"theirs": statistics.median(theirs), "ours": statistics.median(ours), "ratio": statistics.median(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--large", type=int, default=10_000, help="number of images of the large run")
    parser.add_argument("--panoptica", type=Path, metavar="PYTHON")
    parser.add_argument("--surface-distance", type=Path, metavar="PYTHON")
    for internal in ("--folder", "--ours", "--masks"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        print(json.dumps(evaluate_folder(Path(arguments.folder), arguments.jobs)))
        return
    if arguments.ours:
        print(our_seconds(arguments.ours, Path(arguments.masks)))
        return
    from nnunet_run import commit, machine

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        views = Path(temporary) / "views"
        write_views(views)
        masks = Path(temporary) / "masks.npz"
        pairs = [view(np.random.default_rng(index))[:2] for index in range(CASES)]
        both = [pair for pair in pairs if pair[0].any() and pair[1].any()]
        np.savez(masks, reference=[p[0] for p in both], prediction=[p[1] for p in both], spacing=SPACING)
        for package, python in (("panoptica", arguments.panoptica), ("surface_distance", arguments.surface_distance)):
            if python:
                times = beside(package, python, masks)
                rows.append({"what": package, "images": len(both), "jobs": 1, "seconds": times["theirs"]})
                rows.append(
                    {"what": f"ours beside {package}", "images": len(both), "jobs": 1, "seconds": times["ours"]}
                    | {"ratio": times["ratio"]}
                )
        multiply(views, Path(temporary) / "many", arguments.large)
        for folder, number in ((views, CASES), (Path(temporary) / "many", arguments.large)):
            measured = in_own_process("--folder", str(folder), "--jobs", str(arguments.jobs))
            rows.append({"what": "msa evaluate, all measures", "images": number, "jobs": arguments.jobs, **measured})
            print(rows[-1], file=sys.stderr)
    for row in rows:
        row |= {"machine": machine(), "commit": commit()}
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: f"{value:.5g}" if isinstance(value, float) else value for name, value in row.items()})
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
