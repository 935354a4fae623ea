"""What loading a batch costs beside nnU-Net's own loader: MSATrainer without levers, with each (it has the lesion loss itself),
and with all at once.

    python benchmarks/loading.py [--rounds 9] [--batches 4] [--batch 12] [--seed 0]

Phantom scans of 256x256 px counts, single and with the opposite view; nnU-Net's own plan for them. One process with one
thread and no workers, which is what a worker does; its CPU seconds, so that other processes do not count; the arms in turn,
medians over the rounds and the median of the per-round ratios to the stock loader on the same images. Writes
benchmarks/results/loading.csv.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nnunet_run import command, commit, environment, machine

RESULTS = Path(__file__).parent / "results" / "loading.csv"
PATIENTS = 24
DATASETS = {"single": (992, "Dataset992_Loading"), "paired": (993, "Dataset993_LoadingPaired")}
STOCK = "stock nnU-Net"
LEVERS: dict[str, dict[str, Any]] = {
    "no lever": {},
    "lesion loss": {"lesion_loss": 0.2},
    "lesion patches": {"lesion_patches": 0.5},
    "burden": {"burden_exponent": 0.5},
    "nearest targets": {"keep_tiny_targets": False},
    "count physics": {"count_physics": 0.3},
    "transplant": {"transplant": 0.3},
    "opposite dropout": {"opposite_dropout": 0.2},
}
PAIRED_ONLY = {"opposite dropout"}


def arms(views: str) -> dict[str, dict[str, Any]]:
    """Arms on images with this number of views: each lever alone with one view, what differs with two, and all at once."""
    named = {name: levers for name, levers in LEVERS.items() if (name in PAIRED_ONLY) == (views == "paired")}
    together: dict[str, Any] = {}
    for name, levers in LEVERS.items():
        if name != "nearest targets" and (views == "paired" or name not in PAIRED_ONLY):
            together |= levers
    return named | {"all levers": together}


def prepare(root: Path, seed: int) -> None:
    """Phantom, conversion, planning and preprocessing, all by the commands a user has."""
    log, msa = root / "prepare.txt", str(Path(sys.executable).parent / "msa")
    command([msa, "phantom", "-o", str(root / "studies"), "-n", str(PATIENTS), "--seed", str(seed)], root, log)
    for views, (number, name) in DATASETS.items():
        how = ["--crop", "thorax", "--channels", "counts", "--views", views]
        short = name.removeprefix(f"Dataset{number}_")
        command([msa, "convert", "-i", str(root / "studies"), "-d", str(number), "-n", short, *how], root, log)
        command(["nnUNetv2_plan_and_preprocess", "-d", str(number), "-c", "2d", "-np", "2", "-npfp", "2"], root, log)


def loaders(views: str, batch: int, root: Path) -> dict[str, Any]:
    """Arm -> its training loader, on fold 0."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from msa_trainer.levers import Levers
    from msa_trainer.trainer import MSATrainer

    folder = root / "nnUNet_preprocessed" / DATASETS[views][1]
    plans = json.loads((folder / "nnUNetPlans.json").read_text()) | {"continue_training": False}
    plans["configurations"]["2d"]["batch_size"] = batch
    dataset = json.loads((folder / "dataset.json").read_text())
    classes: dict[str, Any] = {STOCK: nnUNetTrainer}
    classes |= {name: type("Bench", (MSATrainer,), {"levers": Levers(**levers)}) for name, levers in arms(views).items()}
    made = {}
    for name, trainer_class in classes.items():
        with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net's log of every trainer
            trainer = trainer_class(dict(plans), "2d", 0, dataset, torch.device("cpu"))
            trainer._set_batch_size_and_oversample()  # of initialize(), without its network
            made[name] = trainer.get_dataloaders()[0]
    return made


def measure(views: str, arguments: argparse.Namespace, root: Path) -> list[dict[str, Any]]:
    """CPU seconds a batch of every arm, in turn."""
    from tqdm import trange

    from msa_trainer import seeding

    iterators = loaders(views, arguments.batch, root)
    taken: dict[str, list[float]] = {name: [] for name in iterators}
    for turn in trange(arguments.rounds + 1, desc=f"{views} views"):
        for name, iterator in iterators.items():
            seeding.seed_everything(seeding.derive(arguments.seed, 0, turn))
            began = time.process_time()
            for _ in range(arguments.batches):
                next(iterator)
            taken[name].append((time.process_time() - began) / arguments.batches)
    rows = []
    for name, seconds in taken.items():
        ratios = [ours / stock for ours, stock in zip(seconds[1:], taken[STOCK][1:], strict=True)]  # the first one warms up
        rows.append(
            {"views": views, "arm": name, "cpu_seconds": statistics.median(seconds[1:]), "ratio": statistics.median(ratios)}
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=4, help="timed batches a round and arm (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=12, help="images a batch (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the phantom and of what is drawn")
    arguments = parser.parse_args()
    import pandas as pd
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(root, arguments.seed)
        os.environ.update(environment(root, nnUNet_n_proc_DA="0"))
        rows = [row for views in DATASETS for row in measure(views, arguments, root)]
    said = {name: getattr(arguments, name) for name in ("batch", "rounds", "batches", "seed")}
    origin = said | {
        "machine": machine(),
        "commit": commit(),
        "command": " ".join(["python benchmarks/loading.py", *sys.argv[1:]]),
    }
    table = pd.DataFrame([row | origin for row in rows])
    table.to_csv(RESULTS, index=False, float_format="%.4g")
    print(table[["views", "arm", "cpu_seconds", "ratio"]].to_string(index=False, float_format="%.3f"))


if __name__ == "__main__":
    main()
