"""Does the trainer learn on real images, and no worse than nnU-Net's own? 100 fluorescence images (CC0).

    python benchmarks/dsb2018.py PATH [--seeds 0 1 2] [--root FOLDER]

PATH holds `images/ID.png` and `labels/ID.png` (0 background, 1 nucleus; 2018 Data Science Bowl, stage 1, CC0). 70 images train,
30 are held out, the same for every seed. Compared on the held-out ones: Otsu's threshold for each image, one threshold on the
z-scored image tuned on the training images, MSATrainer_demo (a few minutes on two CPU cores), and nnU-Net's trainer with the
same optimiser and steps. A trained seed in FOLDER is not trained again. Not bone scans: no claim about them.
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
from nnunet_run import command, commit, into_document, machine
from skimage.filters import threshold_otsu
from skimage.io import imread
from tqdm import tqdm

from msa_trainer.environment import EXTERNAL_TRAINERS, TRAINER_FOLDER

DATASET, HELD_OUT = "Dataset991_DSB2018", 30
OURS, STOCK = "MSATrainer_demo", "StockTrainer_demo"
NAMES = {OURS: "MSATrainer_demo, one fold", STOCK: "nnU-Net's trainer, same optimiser and steps"}
SPLIT_SEED = 0
THRESHOLDS = np.arange(-0.5, 4, 0.05)  # z-scores
RESAMPLES = 10_000  # of the held-out images, for the interval of the paired difference
BEGIN, END = "<!-- dsb2018 table: made by benchmarks/dsb2018.py -->", "<!-- end of dsb2018 table -->"
RESULTS = Path(__file__).parent / "results" / "dsb2018.csv"


def write_dataset(source: Path, raw: Path) -> tuple[list[str], list[str]]:
    """Copy the images as nnU-Net raw PNG with one fold; return training and held-out names."""
    folder = raw / DATASET
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = sorted(file.stem for file in (source / "images").glob("*.png"))
    if len(names) <= HELD_OUT:
        raise SystemExit(f"{source}/images holds {len(names)} PNG files; expected the 100 of the subset.")
    for name in names:
        shutil.copyfile(source / "images" / f"{name}.png", folder / "imagesTr" / f"{name}_0000.png")
        shutil.copyfile(source / "labels" / f"{name}.png", folder / "labelsTr" / f"{name}.png")
    shuffled = [names[i] for i in np.random.default_rng(SPLIT_SEED).permutation(len(names))]
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


def train(trainer: str, seed: int, root: Path) -> Path:
    """Train with one seed unless that was done; the folder of the held-out images' masks. Raises SystemExit."""
    results = root / f"seed_{seed}"
    validation = results / DATASET / f"{trainer}__nnUNetPlans__2d" / "fold_0" / "validation"
    if not (validation / "summary.json").is_file():
        peers = str(Path(__file__).with_name("peer_trainers"))
        variables = {"MSA_SEED": str(seed), "nnUNet_results": str(results), EXTERNAL_TRAINERS: f"{TRAINER_FOLDER}:{peers}"}
        arguments = ["nnUNetv2_train", "991", "2d", "0", "-tr", trainer, "-device", "cpu"]
        command(arguments, root, root / f"{trainer}_{seed}.txt", **variables)
    return validation


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the training; the split is one")
    parser.add_argument("--root", type=Path, default=Path(tempfile.gettempdir()) / "msa_dsb2018", help="data and models")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    training, held_out = write_dataset(arguments.path, root / "nnUNet_raw")
    if not (root / "nnUNet_preprocessed" / DATASET / "nnUNetPlans_2d").is_dir():
        print(f"{len(training)} training images, {len(held_out)} held out; planning ...", flush=True)
        plan = ["nnUNetv2_plan_and_preprocess", "-d", "991", "-c", "2d", "-np", "2", "-npfp", "2", "-gpu_memory_target", "0.5"]
        command(plan, root, root / "plan.txt")
    split = Path(DATASET) / "splits_final.json"  # which nnU-Net's own trainer looks for among the preprocessed cases only
    shutil.copyfile(root / "nnUNet_raw" / split, root / "nnUNet_preprocessed" / split)

    def load(part: str, names: list[str]) -> list[np.ndarray]:
        return [imread(arguments.path / part / f"{name}.png") for name in names]

    threshold = tuned_threshold(load("images", training), [m > 0 for m in load("labels", training)])
    images, masks = load("images", held_out), [m > 0 for m in load("labels", held_out)]
    predicted = {
        "Otsu, each image": [i > threshold_otsu(i) for i in images],
        f"threshold z > {threshold:.2f}, tuned on the training images": [z_scored(i) > threshold for i in images],
    }
    found = {method: np.array([[dice(*pair) for pair in zip(run, masks, strict=True)]]) for method, run in predicted.items()}
    for seed, trainer in tqdm([(seed, trainer) for seed in arguments.seeds for trainer in NAMES], desc="trainings"):
        folder = train(trainer, seed, root)
        run = np.array([[dice(imread(folder / f"{name}.png") > 0, m) for name, m in zip(held_out, masks, strict=True)]])
        found[NAMES[trainer]] = np.concatenate([found[NAMES[trainer]], run]) if NAMES[trainer] in found else run
    results = figures(found).assign(n=HELD_OUT, commit=commit(), machine=machine())
    results.to_csv(RESULTS, index=False, float_format="%.4f")
    rows = pd.read_csv(RESULTS).to_dict("records")
    into_document(BEGIN, END, table(rows))
    print(table(rows))
    return 0 if results.margin_low.iloc[0] > 0 else 1


def figures(found: dict[str, np.ndarray]) -> pd.DataFrame:
    """A row a method, from its Dice values (runs, images): what an image gets on average over the runs, and their spread.

    margin_*: our trainer less the better threshold, 95 % over images. stock_*: less nnU-Net's trainer, likewise, and the
    difference's standard error over runs, which are independent: sqrt(SD1^2 / n + SD2^2 / n).
    """
    *thresholds, ours, stock = found.values()
    means = {method: values.mean(axis=0) for method, values in found.items()}
    rows = [
        {
            "method": method, "seeds": len(values), "dice_mean": values.mean(), "dice_sd": means[method].std(ddof=1),
            "seed_sd": values.mean(axis=1).std(ddof=1) if len(values) > 1 else None, "dice_min": means[method].min(),
        }
        for method, values in found.items()
    ]  # fmt: skip
    better = max((values[0] for values in thresholds), key=lambda values: float(values.mean()))
    low, margin, high = paired_interval(ours.mean(axis=0) - better, SPLIT_SEED)
    stock_low, difference, stock_high = paired_interval(ours.mean(axis=0) - stock.mean(axis=0), SPLIT_SEED)
    noise = sum(v.mean(axis=1).var(ddof=1) / len(v) for v in (ours, stock)) ** 0.5 if len(ours) > 1 else None
    return pd.DataFrame(rows).assign(
        margin=margin, margin_low=low, margin_high=high,
        stock_difference=difference, stock_low=stock_low, stock_high=stock_high, stock_seed_error=noise,
    )  # fmt: skip


def paired_interval(differences: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Lower bound, mean and upper bound (95 %, bootstrap over images) of paired differences in Dice."""
    drawn = np.random.default_rng(seed).choice(differences, (RESAMPLES, len(differences))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(differences.mean()), float(high)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: Dice an image of each method, and what ours gains over the better threshold and over nnU-Net's trainer."""
    lines = [
        "| held-out images | seeds | Dice, mean (SD over images) | SD over seeds | worst image |",
        "|---|---:|---:|---:|---:|",
    ]
    for r in rows:
        trained = r["method"] in NAMES.values()
        seeds = f"{r['seeds']} | " if trained else "| "
        spread = f"{r['seed_sd']:.4f}" if trained and r["seeds"] > 1 else ""
        lines.append(f"| {r['method']} | {seeds}{r['dice_mean']:.3f} ({r['dice_sd']:.3f}) | {spread} | {r['dice_min']:.3f} |")
    r = rows[0]
    threshold = f"{r['margin']:+.3f} Dice (95 % over images {r['margin_low']:+.3f} to {r['margin_high']:+.3f}, n = {r['n']})"
    stock = f"{r['stock_difference']:+.4f} ({r['stock_low']:+.4f} to {r['stock_high']:+.4f}){seed_sentence(r)}"
    origin = f"{r['machine']}; commit {r['commit']}; `python benchmarks/dsb2018.py PATH`."
    lines.append(f"\nMSATrainer_demo less the better threshold: {threshold}; less nnU-Net's trainer: {stock}. {origin}")
    return "\n".join(lines)


def seed_sentence(row: dict[str, Any]) -> str:
    """Whether the difference to nnU-Net's trainer is one that other seeds would show too (twice its standard error)."""
    error = row["stock_seed_error"]
    if error is None or np.isnan(error):
        return ", one seed each, so without the spread over seeds"
    inside = abs(row["stock_difference"]) <= 2 * error
    return f", {'inside' if inside else 'outside'} seed noise (two standard errors {2 * error:.4f})"


if __name__ == "__main__":
    sys.exit(main())
