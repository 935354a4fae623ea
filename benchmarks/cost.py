"""What MSATrainer costs beside the stock trainer, on three of nnU-Net's own plans: in training and in prediction.

    python benchmarks/cost.py [--plans 256x256 256x1024 3-D] [--device cpu] [--rounds 3] [--steps 3]

Parameters, FLOPs, training-step time, peak memory, and inference time an image at equal mirrored passes and at each trainer's
own (nnU-Net mirrors along every axis, MSATrainer left-right only). One process an arm and round, arms in turn, so that neither
warms up or slows down the other; medians over the rounds and the median of the per-round ratios. Writes
benchmarks/results/cost.csv and the README's table; plans and devices that were not asked for keep their rows. On a GPU steps
are in mixed precision, as nnU-Net has them there, without torch.compile, and memory is what PyTorch held of the GPU's.
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_run import command, commit, environment, into_document, machine

RESULTS = Path(__file__).parent / "results" / "cost.csv"
MARKERS = {
    "cpu": ("<!-- cost table: made by benchmarks/cost.py -->", "<!-- end of cost table -->"),
    "cuda": ("<!-- cost table on a GPU: made by benchmarks/cost.py --device cuda -->", "<!-- end of cost table on a GPU -->"),
}
WARM_UP = {"cpu": 1, "cuda": 5}  # calls: cuDNN tries its algorithms in the first ones
ARMS = {
    "stock nnU-Net (PlainConvUNet)": "nnUNetTrainer",
    "MSA generator alone": "generator",
    "with the adversary": "generator+adversary",
    "MSATrainer (adversary and per-lesion loss)": "generator+adversary+lesions",
}
STOCK = next(iter(ARMS))
CASES, DATASET = 4, "Dataset990_Cost"
DISCRIMINATOR_NOTE = "0.16 M parameters for one input channel and one class in 2-D"
MEASURES = {
    "parameters": "parameters, M",
    "gflops": "FLOPs forward, G",
    "step_seconds": "training step, s",
    "memory_mib": "peak memory, MiB",
    "equal_seconds": "inference an image, equal passes, s",
    "own_seconds": "at its own passes, s",
}


@dataclass(frozen=True)
class Plan:
    """Images of `shape` px, for which nnU-Net makes the plan; batch: of a timed step on a device, about nnU-Net's on a GPU."""

    shape: tuple[int, ...]
    configuration: str
    batch: dict[str, int]


PLANS = {
    "256x256": Plan((256, 256), "2d", {"cpu": 2, "cuda": 14}),
    "256x1024": Plan((1024, 256), "2d", {"cpu": 2, "cuda": 12}),
    "3-D": Plan((64, 96, 96), "3d_fullres", {"cpu": 2, "cuda": 2}),
}


def write_dataset(raw: Path, shape: tuple[int, ...]) -> None:
    """Random counts: cost does not depend on what the pixels show."""
    import numpy as np
    import SimpleITK as sitk  # noqa: N813

    folder = raw / DATASET
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(CASES):
        label = np.zeros(shape, np.uint8)
        label[(slice(30, 40),) * len(shape)] = 1
        counts = rng.poisson(5 + 20 * label).astype(np.float32) + 1
        sitk.WriteImage(sitk.GetImageFromArray(counts), str(folder / f"imagesTr/case_{index}_0000.nii.gz"))
        sitk.WriteImage(sitk.GetImageFromArray(label), str(folder / f"labelsTr/case_{index}.nii.gz"))
    recipe = {"channel_names": {"0": "counts"}, "labels": {"background": 0, "metastasis": 1}}
    (folder / "dataset.json").write_text(json.dumps(recipe | {"numTraining": CASES, "file_ending": ".nii.gz"}))


def build(name: str, plan: Plan, device: str, root: Path) -> Any:
    """An arm's trainer, not yet initialised."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from msa_trainer.levers import Levers
    from msa_trainer.variants import MSATrainer, MSATrainerNoAdversary

    preprocessed = root / "nnUNet_preprocessed" / DATASET
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text()) | {"continue_training": False}
    plans["configurations"][plan.configuration]["batch_size"] = plan.batch[device]
    dataset = json.loads((preprocessed / "dataset.json").read_text())
    trainer: Any = nnUNetTrainer
    if name != "nnUNetTrainer":
        base = MSATrainer if "adversary" in name else MSATrainerNoAdversary
        trainer = type("Bench", (base,), {} if "lesions" in name else {"levers": Levers()})
    return trainer(plans, plan.configuration, 0, dataset, torch.device(device))


def batch_of(trainer: Any, size: int) -> dict[str, Any]:
    """A batch as the arm's own pipeline hands it over: noise with one lesion, targets of every scale."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    patch = tuple(trainer.configuration_manager.patch_size)
    label = torch.zeros(1, *patch, dtype=torch.int16)
    label[(slice(None), *(slice(30, 40),) * len(patch))] = 1
    transforms = nnUNetTrainer.get_validation_transforms(trainer._get_deep_supervision_scales(), foreground_labels=[1])
    targets = transforms(image=torch.zeros(1, *patch), segmentation=label)["segmentation"]
    levers = getattr(trainer, "levers", None)
    if levers is not None and levers.lesion_loss:
        from msa_trainer.levers.lesion_loss import target_transforms

        for transform in target_transforms(levers, False, None):
            targets = transform(segmentation=targets)["segmentation"]
    return {"data": torch.randn(size, 1, *patch), "target": [torch.stack([target] * size) for target in targets]}


def measure(name: str, plan: Plan, device: str, steps: int, root: Path) -> dict[str, float]:
    """One arm in this process: build the trainer, count, take warm-up steps and then `steps` timed ones, predict an image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(2)
    torch.backends.cudnn.benchmark = device == "cuda"  # as nnUNetv2_train has it
    trainer = build(name, plan, device, root)
    batch = batch_of(
        trainer, plan.batch[device]
    )  # before memory is counted: a loader's worker makes it, not the training process
    before = held_mib(device)
    trainer.initialize()
    trainer.set_deep_supervision_enabled(True)
    if getattr(trainer, "adversary", None) is not None:
        trainer.adversary.begin_epoch(trainer.num_epochs - 1, trainer.num_epochs)  # weight at its full height
    trainer.network.train()
    step_seconds = timed(lambda: trainer.train_step(batch), steps, device)
    memory = held_mib(device) - before
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        trainer.network(batch["data"][:1].to(trainer.device))
    _, _, _, mirrored = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    left_right = (len(plan.shape) - 1,)
    return {
        "parameters": sum(p.numel() for p in trainer.network.parameters()) / 1e6,
        "gflops": flops.get_total_flops() / 1e9,
        "step_seconds": step_seconds,
        "memory_mib": memory,
        "equal_seconds": timed(inference(trainer, plan, left_right), steps, device),
        "own_seconds": timed(inference(trainer, plan, tuple(mirrored)), steps, device),
    }


def held_mib(device: str) -> float:
    """Most memory so far: resident, on a CPU, and of the GPU's what PyTorch reserved."""
    import torch

    if device == "cuda":
        return torch.cuda.max_memory_reserved() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def inference(trainer: Any, plan: Plan, mirrored: tuple[int, ...]) -> Callable[[], Any]:
    """nnU-Net's sliding window over one image, mirrored along the given axes."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    on_gpu = trainer.device.type == "cuda"
    predictor = nnUNetPredictor(perform_everything_on_device=on_gpu, device=trainer.device, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network, trainer.plans_manager, trainer.configuration_manager, None, trainer.dataset_json, "cost", mirrored
    )
    image = torch.randn(1, *((1,) * (3 - len(plan.shape))), *plan.shape)

    def predict() -> Any:
        with torch.inference_mode():
            return predictor.predict_sliding_window_return_logits(image)

    return predict


def timed(action: Callable[[], Any], times: int, device: str) -> float:
    """Median seconds of `times` calls after those that warm up."""
    import torch

    seconds = []
    for _ in range(WARM_UP[device] + times):
        began = time.perf_counter()
        action()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[WARM_UP[device] :])


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: each measure, and its ratio to the stock trainer at the same plan."""
    lines = ["| plan | | " + " | ".join(MEASURES.values()) + " |", "|---|---|" + "---:|" * len(MEASURES)]
    for row in rows:
        cells = [f"{three_digits(float(row[m]))} ({float(row[m + '_ratio']):.2f}x)" for m in MEASURES]
        lines.append(f"| {row['plan']} | {row['arm']} | " + " | ".join(cells) + " |")
    first = rows[0]
    commits = ", ".join(dict.fromkeys(str(row["commit"]) for row in rows))
    rounds = ", ".join(dict.fromkeys(f"{row['plan']}: n = {row['rounds']}" for row in rows))
    batches = ", ".join(dict.fromkeys(f"{row['plan']}: {row['batch']}" for row in rows))
    option = "" if first["device"] == "cpu" else f" --device {first['device']}"
    precision = "in mixed precision without torch.compile, " if first["device"] == "cuda" else ""
    lines.append(
        f"\nnnU-Net's own plans, {precision}batch ({batches}), one process an arm and round, arms in turn, medians ({rounds}); "
        f"{first['machine']}; commit {commits}; `python benchmarks/cost.py{option}`. The discriminator ({DISCRIMINATOR_NOTE}) "
        "exists in training only; its time and memory are counted, at full weight in every step. Equal passes: left-right "
        "mirroring for both; its own: nnU-Net mirrors along every axis, MSATrainer left-right only."
    )
    return "\n".join(lines)


def three_digits(value: float) -> str:
    """Three significant digits, no exponent."""
    return f"{value:.3g}" if value < 1000 else f"{float(f'{value:.3g}'):,.0f}"


def compare(name: str, device: str, rounds: int, steps: int) -> list[dict[str, Any]]:
    """The rows of one plan: all arms in turn, `rounds` times."""
    from tqdm import tqdm

    plan = PLANS[name]
    measured: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_dataset(root / "nnUNet_raw", plan.shape)
        planning = ["nnUNetv2_plan_and_preprocess", "-d", "990", "-c", plan.configuration, "-np", "2", "-npfp", "2"]
        command(planning, root, root / "plan.txt")
        for arm in tqdm([arm for _ in range(rounds) for arm in ARMS], desc=f"{name}, one process an arm"):
            output = subprocess.run(
                [sys.executable, __file__, "--arm", ARMS[arm], "--plans", name, "--device", device,
                 "--steps", str(steps), "--root", folder],
                env=environment(root), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
            ).stdout  # fmt: skip
            measured[arm].append(json.loads(output.splitlines()[-1]))
    rows: list[dict[str, Any]] = []
    for arm, found in measured.items():
        row: dict[str, Any] = {"device": device, "plan": name, "arm": arm, "batch": plan.batch[device], "rounds": rounds}
        for m in MEASURES:
            row[m] = statistics.median(r[m] for r in found)
            row[m + "_ratio"] = statistics.median(r[m] / s[m] for r, s in zip(found, measured[STOCK], strict=True))
        rows.append(row | {"machine": machine(), "commit": commit()})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plans", nargs="+", choices=list(PLANS), default=list(PLANS))
    parser.add_argument("--device", choices=list(MARKERS), default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="timed steps a round (default: %(default)s)")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.arm:
        print(
            "\n"
            + json.dumps(measure(arguments.arm, PLANS[arguments.plans[0]], arguments.device, arguments.steps, arguments.root))
        )
        return
    import pandas as pd
    import torch

    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch sees no GPU here; run it on a machine with one, or measure --device cpu.")
    kept = pd.read_csv(RESULTS).to_dict("records")
    device = arguments.device
    for name in arguments.plans:
        kept = [row for row in kept if (row["device"], row["plan"]) != (device, name)]
        kept += compare(name, device, arguments.rounds, arguments.steps)
        order = {plan: index for index, plan in enumerate(PLANS)}
        kept = sorted(kept, key=lambda row: (row["device"], order[row["plan"]]))
        pd.DataFrame(kept).to_csv(RESULTS, index=False, float_format="%.5g")
    made = table([row for row in pd.read_csv(RESULTS).to_dict("records") if row["device"] == device])
    into_document(*MARKERS[device], made)
    print(made)


if __name__ == "__main__":
    main()
