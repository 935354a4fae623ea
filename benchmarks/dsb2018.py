"""Does the trainer learn on real images? MSATrainer on 100 fluorescence images (CC0), against two thresholds.

    python benchmarks/dsb2018.py PATH [--seed 0]

PATH holds `images/ID.png` and `labels/ID.png` (0 background, 1 nucleus; 2018 Data Science Bowl, stage 1, CC0). 70 images train,
30 are held out. Compared on the held-out ones: Otsu's threshold for each image, one threshold on the z-scored image tuned on
the training images, and MSATrainer_demo's network (a few minutes on two CPU cores). Not bone scans: no claim about them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nnunet_run import command, commit, into_readme, machine
from skimage.filters import threshold_otsu
from skimage.io import imread

DATASET, TRAINER, HELD_OUT = "Dataset991_DSB2018", "MSATrainer_demo", 30
THRESHOLDS = np.arange(-0.5, 4, 0.05)  # z-scores
RESAMPLES = 10_000  # of the held-out images, for the interval of the paired difference
BEGIN, END = "<!-- dsb2018 table: made by benchmarks/dsb2018.py -->", "<!-- end of dsb2018 table -->"
RESULTS = Path(__file__).parent / "results" / "dsb2018.csv"


def write_dataset(source: Path, raw: Path, seed: int) -> tuple[list[str], list[str]]:
    """Copy the images as nnU-Net raw PNG with one fold; return training and held-out names."""
    folder = raw / DATASET
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    names = sorted(file.stem for file in (source / "images").glob("*.png"))
    if len(names) <= HELD_OUT:
        raise SystemExit(f"{source}/images holds {len(names)} PNG files; expected the 100 of the subset.")
    for name in names:
        shutil.copyfile(source / "images" / f"{name}.png", folder / "imagesTr" / f"{name}_0000.png")
        shutil.copyfile(source / "labels" / f"{name}.png", folder / "labelsTr" / f"{name}.png")
    shuffled = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    held_out, training = sorted(shuffled[:HELD_OUT]), sorted(shuffled[HELD_OUT:])
    recipe = {"channel_names": {"0": "intensity"}, "labels": {"background": 0, "nucleus": 1}}
    (folder / "dataset.json").write_text(json.dumps(recipe | {"numTraining": len(names), "file_ending": ".png"}))
    (folder / "splits_final.json").write_text(json.dumps([{"train": training, "val": held_out}]))
    return training, held_out


def z_scored(image: np.ndarray) -> np.ndarray:
    return (image - image.mean()) / max(image.std(), 1e-8)


def tuned_threshold(images: list[np.ndarray], masks: list[np.ndarray]) -> float:
    """The z-score whose threshold gives the best mean Dice on these images."""
    scores = [np.mean([dice(z_scored(i) > t, m) for i, m in zip(images, masks, strict=True)]) for t in THRESHOLDS]
    return float(THRESHOLDS[int(np.argmax(scores))])


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    return float(2 * (prediction & reference).sum() / (prediction.sum() + reference.sum()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        training, held_out = write_dataset(arguments.path, root / "nnUNet_raw", arguments.seed)
        log = root / "log.txt"
        print(
            f"{len(training)} training images, {len(held_out)} held out, seed {arguments.seed}; training {TRAINER} ...",
            flush=True,
        )
        plan = ["nnUNetv2_plan_and_preprocess", "-d", "991", "-c", "2d", "-np", "2", "-npfp", "2", "-gpu_memory_target", "0.5"]
        command(plan, root, log)
        train = ["nnUNetv2_train", "991", "2d", "0", "-tr", TRAINER, "-device", "cpu"]
        command(train, root, log, MSA_SEED=str(arguments.seed))

        def load(part: str, names: list[str]) -> list[np.ndarray]:
            return [imread(arguments.path / part / f"{name}.png") for name in names]

        validation = root / "nnUNet_results" / DATASET / f"{TRAINER}__nnUNetPlans__2d" / "fold_0" / "validation"
        predicted = [imread(validation / f"{name}.png") > 0 for name in held_out]
    threshold = tuned_threshold(load("images", training), [m > 0 for m in load("labels", training)])
    images, masks = load("images", held_out), [m > 0 for m in load("labels", held_out)]
    methods: dict[str, list[Any]] = {
        "Otsu, each image": [i > threshold_otsu(i) for i in images],
        f"threshold z > {threshold:.2f}, tuned on the training images": [z_scored(i) > threshold for i in images],
        f"{TRAINER}, one fold": predicted,
    }
    scores = {method: np.array([dice(f, m) for f, m in zip(found, masks, strict=True)]) for method, found in methods.items()}
    *thresholds, ours = scores
    better = max(thresholds, key=lambda method: scores[method].mean())
    low, margin, high = paired_interval(scores[ours] - scores[better], arguments.seed)
    rows = [{"method": m, "dice_mean": s.mean(), "dice_sd": s.std(ddof=1), "dice_min": s.min()} for m, s in scores.items()]
    origin = {"n": HELD_OUT, "seed": arguments.seed, "margin": margin, "margin_low": low, "margin_high": high}
    results = pd.DataFrame(rows).assign(**origin, commit=commit(), machine=machine())
    results.to_csv(RESULTS, index=False, float_format="%.4f")
    into_readme(BEGIN, END, table(pd.read_csv(RESULTS).to_dict("records")))
    print(table(results.to_dict("records")))
    return 0 if low > 0 else 1


def paired_interval(differences: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Lower bound, mean and upper bound (95 %, bootstrap over images) of paired differences in Dice."""
    drawn = np.random.default_rng(seed).choice(differences, (RESAMPLES, len(differences))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(differences.mean()), float(high)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: Dice an image of each method, and what the network gains over the better threshold."""
    lines = ["| held-out images | Dice, mean (SD over images) | worst image |", "|---|---:|---:|"]
    lines += [f"| {r['method']} | {r['dice_mean']:.3f} ({r['dice_sd']:.3f}) | {r['dice_min']:.3f} |" for r in rows]
    r = rows[0]
    lines.append(
        f"\nDifference to the better threshold {r['margin']:+.3f} Dice (95 % over images {r['margin_low']:+.3f} to "
        f"{r['margin_high']:+.3f}, n = {r['n']}); one run, seed {r['seed']}, so without the spread over seeds; {r['machine']}; "
        f"commit {r['commit']}; `python benchmarks/dsb2018.py PATH`."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
