"""What MSATrainer costs beside the stock trainer: parameters, FLOPs, step time, memory on nnU-Net's own 256x256 plan.

    python benchmarks/cost.py [--rounds 5] [--steps 4] [--batch 2]

One process an arm and round, arms in turn, so that neither warms up or slows down the other; medians over the rounds and the
median of the per-round ratios. Writes benchmarks/results/cost.csv and the README's table.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nnunet_run import command, commit, environment, into_readme, machine

RESULTS = Path(__file__).parent / "results" / "cost.csv"
BEGIN, END = "<!-- cost table: made by benchmarks/cost.py -->", "<!-- end of cost table -->"
ARMS = {
    "stock nnU-Net (PlainConvUNet)": "nnUNetTrainer",
    "MSA generator alone": "MSATrainerNoAdversary",
    "MSATrainer (with the adversary)": "MSATrainer",
}
STOCK = next(iter(ARMS))
CASES, SIDE, DATASET = 8, 256, "Dataset990_Cost"
DISCRIMINATOR_NOTE = "0.16 M parameters for one input channel and one class"
MEASURES = {
    "parameters": "parameters, M",
    "gflops": "FLOPs forward, G",
    "step_seconds": "training step, s",
    "memory_mib": "peak memory, MiB",
}


def write_dataset(raw: Path) -> None:
    """Random 256x256 counts: cost does not depend on what the pixels show."""
    import numpy as np
    import SimpleITK as sitk  # noqa: N813

    folder = raw / DATASET
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(CASES):
        label = np.zeros((SIDE, SIDE), np.uint8)
        label[100:110, 100:110] = 1
        counts = rng.poisson(5 + 20 * label).astype(np.float32) + 1
        sitk.WriteImage(sitk.GetImageFromArray(counts), str(folder / f"imagesTr/case_{index}_0000.nii.gz"))
        sitk.WriteImage(sitk.GetImageFromArray(label), str(folder / f"labelsTr/case_{index}.nii.gz"))
    recipe = {"channel_names": {"0": "counts"}, "labels": {"background": 0, "metastasis": 1}}
    (folder / "dataset.json").write_text(json.dumps(recipe | {"numTraining": CASES, "file_ending": ".nii.gz"}))


def measure(trainer_name: str, batch: int, steps: int, root: Path) -> dict[str, float]:
    """One arm in this process: build the trainer, count, take one warm-up step and then `steps` timed ones."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from torch.utils.flop_counter import FlopCounterMode

    from msa_trainer import variants

    torch.set_num_threads(2)
    preprocessed = root / "nnUNet_preprocessed" / DATASET
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text()) | {"continue_training": False}
    dataset = json.loads((preprocessed / "dataset.json").read_text())
    trainer_class: Any = nnUNetTrainer if trainer_name == "nnUNetTrainer" else getattr(variants, trainer_name)
    trainer = trainer_class(plans, "2d", 0, dataset, torch.device("cpu"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer.initialize()
    trainer.set_deep_supervision_enabled(True)
    if trainer_name == "MSATrainer":
        trainer.adversary.begin_epoch(trainer.num_epochs - 1, trainer.num_epochs)  # weight at its full height
    data = torch.randn(batch, 1, SIDE, SIDE)
    label = torch.zeros(batch, 1, SIDE, SIDE, dtype=torch.int16)
    label[:, :, 100:110, 100:110] = 1
    sides = [round(SIDE * scale[0]) for scale in trainer._get_deep_supervision_scales()]
    target = [torch.nn.functional.interpolate(label.float(), side).to(torch.int16) for side in sides]
    trainer.network.train()
    times = []
    for _ in range(steps + 1):
        began = time.perf_counter()
        trainer.train_step({"data": data, "target": target})
        times.append(time.perf_counter() - began)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        trainer.network(data[:1])
    return {
        "parameters": sum(p.numel() for p in trainer.network.parameters()) / 1e6,
        "gflops": flops.get_total_flops() / 1e9,
        "step_seconds": statistics.median(times[1:]),
        "memory_mib": memory,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: each measure, and its ratio to the stock trainer."""
    lines = ["| | " + " | ".join(MEASURES.values()) + " |", "|---|" + "---:|" * len(MEASURES)]
    for row in rows:
        cells = [f"{float(row[m]):.3g} ({float(row[m + '_ratio']):.2f}x)" for m in MEASURES]
        lines.append(f"| {row['arm']} | " + " | ".join(cells) + " |")
    first = rows[0]
    lines.append(
        f"\n256x256 plan, batch {first['batch']}, {first['rounds']} rounds in turn, medians, one process an arm and round; "
        f"{first['machine']}; commit {first['commit']}; `python benchmarks/cost.py`. The discriminator ({DISCRIMINATOR_NOTE}) "
        "exists in training only; its time and memory are counted, at full weight in every step."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="timed steps a round (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.arm:
        print(json.dumps(measure(arguments.arm, arguments.batch, arguments.steps, arguments.root)))
        return
    import pandas as pd
    from tqdm import tqdm

    measured: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_dataset(root / "nnUNet_raw")
        plan = ["nnUNetv2_plan_and_preprocess", "-d", "990", "-c", "2d", "-np", "2", "-npfp", "2"]
        command(plan, root, root / "plan.txt")
        turns = [arm for _ in range(arguments.rounds) for arm in ARMS]
        for arm in tqdm(turns, desc="one process an arm"):
            options = ["--batch", str(arguments.batch), "--steps", str(arguments.steps), "--root", folder]
            output = subprocess.run(
                [sys.executable, __file__, "--arm", ARMS[arm], *options],
                env=environment(root), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
            ).stdout  # fmt: skip
            measured[arm].append(json.loads(output.splitlines()[-1]))
    rows: list[dict[str, Any]] = []
    for arm, rounds in measured.items():
        row: dict[str, Any] = {"arm": arm, "batch": arguments.batch, "rounds": arguments.rounds}
        for m in MEASURES:
            row[m] = statistics.median(r[m] for r in rounds)
            row[m + "_ratio"] = statistics.median(r[m] / s[m] for r, s in zip(rounds, measured[STOCK], strict=True))
        rows.append(row | {"machine": machine(), "commit": commit()})
    pd.DataFrame(rows).to_csv(RESULTS, index=False, float_format="%.5g")
    into_readme(BEGIN, END, table(pd.read_csv(RESULTS).to_dict("records")))
    print(table(rows))


if __name__ == "__main__":
    main()
