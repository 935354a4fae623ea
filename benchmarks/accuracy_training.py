"""One run of the accuracy benchmark in one process: train an arm, predict an evaluation set, measure, print one JSON line.

Called by benchmarks/accuracy.py; nnU-Net's folders and MSA_SEED come from the environment.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import accuracy_sets as sets
import numpy as np
from accuracy_arms import ARMS, Arm
from accuracy_figures import figures

EPOCHS = 10  # in which a run's steps are divided; nnU-Net's learning rate and the adversary's weight change by the epoch
PIXELS = 8 * 128 * 128  # a batch, whatever the patch; --full keeps as many as the plan has
NARROW = 4  # widths are divided by this: a run takes minutes on two cores; --full keeps the plan's own


def plan_of(arm: Arm, preprocessed: Path, full: bool) -> dict[str, Any]:
    """nnU-Net's plans of the training set with the arm's patch, the stages that nnU-Net derives from it, and narrow widths.

    full: the plans' own widths, and as many pixels a batch as they have.
    """
    from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

    plans: dict[str, Any] = json.loads((preprocessed / "nnUNetPlans.json").read_text())
    configuration = plans["configurations"]["2d"]
    pixels = configuration["batch_size"] * int(np.prod(configuration["patch_size"])) if full else PIXELS
    patch = [arm.patch] * 2
    _, strides, kernels, patch, _ = get_pool_and_conv_props(configuration["spacing"], patch, 4, 999999)
    configuration |= {"patch_size": [int(side) for side in patch], "batch_size": pixels // int(np.prod(patch))}
    stages = len(strides)
    architecture = configuration["architecture"]["arch_kwargs"]
    widths = [min(512, 32 * 2**stage) // (1 if full else NARROW) for stage in range(stages)]
    architecture |= {
        "n_stages": stages,
        "features_per_stage": widths,
        "kernel_sizes": [[int(k) for k in kernel] for kernel in kernels],
        "strides": [[int(s) for s in stride] for stride in strides],
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }
    return plans | {"continue_training": False}


def trainer_of(arm: Arm, plans: dict[str, Any], dataset: dict[str, Any], steps: int) -> Any:
    """The arm's trainer on all training cases, seeded by MSA_SEED."""
    import torch
    from peer_trainers.stock import StockTrainer

    from msa_trainer.trainer import MSATrainer
    from msa_trainer.variants import MSATrainerStockNetwork

    base: Any = {"stock trainer": StockTrainer, "U-Net": MSATrainerStockNetwork, "MSA": MSATrainer}[arm.network]
    made = type("BenchTrainer", (base,), {"recipe": arm.recipe, "levers": arm.levers})
    trainer = made(plans, "2d", "all", dataset, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch = EPOCHS, steps // EPOCHS
    trainer.num_val_iterations_per_epoch = 1
    trainer.save_every = EPOCHS + 1
    return trainer


def predict(trainer: Any, raw: Path, output: Path, mirrored: tuple[int, ...] | None) -> None:
    """Masks and probabilities of every image of a raw dataset, by nnU-Net's preprocessor and sliding window.

    mirrored: axes, None for the trainer's own.
    """
    import SimpleITK as sitk  # noqa: N813
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    saved = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    trainer.set_deep_supervision_enabled(False)
    network = trainer.network
    network.load_state_dict(saved["network_weights"])
    network.eval()
    device = trainer.device
    predictor = nnUNetPredictor(perform_everything_on_device=device.type == "cuda", device=device, allow_tqdm=False)
    manager, plans = trainer.configuration_manager, trainer.plans_manager
    axes = trainer.inference_allowed_mirroring_axes if mirrored is None else mirrored
    predictor.manual_initialization(network, plans, manager, None, trainer.dataset_json, "bench", axes or None)
    preprocessor = manager.preprocessor_class(verbose=False)
    output.mkdir(parents=True)
    for label in sorted((raw / "labelsTr").glob("*.nii.gz")):
        case = label.name.removesuffix(".nii.gz")
        channels = sorted((raw / "imagesTr").glob(f"{case}_????.nii.gz"))
        data, _, _ = preprocessor.run_case([str(c) for c in channels], None, plans, manager, trainer.dataset_json)
        with torch.inference_mode():
            logits = predictor.predict_sliding_window_return_logits(torch.from_numpy(data).float())
        foreground = torch.softmax(logits.float(), 0)[1, 0].cpu().numpy()
        image = sitk.ReadImage(str(label))
        if foreground.shape != image.GetSize()[::-1]:
            raise SystemExit(
                f"{label}: nnU-Net resampled or cropped it to {foreground.shape} px; the sets have one pixel size."
            )
        np.savez_compressed(
            output / f"{case}.npz", probabilities=np.stack([1 - foreground, foreground]).astype(np.float16)[:, None]
        )
        mask = sitk.GetImageFromArray((foreground > 0.5).astype(np.uint8))
        mask.CopyInformation(image)
        sitk.WriteImage(mask, str(output / label.name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arm", choices=list(ARMS), required=True)
    parser.add_argument("--set", choices=list(sets.EVALUATION_SETS), required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    arm, root = ARMS[arguments.arm], arguments.root
    training = sets.converted(sets.TRAINING, arm.channels, root, arm.views)
    raw = sets.converted(sets.EVALUATION_SETS[arguments.set], arm.channels, root, arm.views)
    folder = sets.preprocessed(training, root)
    dataset = json.loads((folder / "dataset.json").read_text())
    began = time.monotonic()
    trainer = trainer_of(arm, plan_of(arm, folder, arguments.full), dataset, arguments.steps)
    trainer.run_training()
    trained = time.monotonic()
    shutil.rmtree(arguments.output, ignore_errors=True)
    predict(trainer, raw, arguments.output, arm.mirrored)
    predicted = time.monotonic()
    times = {"train_seconds": trained - began, "predict_seconds": predicted - trained}
    print("\n" + json.dumps(figures(raw, arguments.output) | times))


if __name__ == "__main__":
    main()
