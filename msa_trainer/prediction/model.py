"""A trained model as prediction needs it: checked before anything is computed, loaded once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa_trainer.prediction import processor
from msa_trainer.prediction.errors import PredictionError
from msa_trainer.prediction.model_files import ModelFiles, find_model
from msa_trainer.prediction.model_recipe import ModelRecipe, read_labels, read_recipe

if TYPE_CHECKING:
    import torch
    from nnunetv2.utilities.label_handling.label_handling import LabelManager
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
    from torch import nn

CHECKPOINT = "checkpoint_final.pth"


@dataclass(frozen=True)
class Model:
    """A loaded model: one network a fold, all on `device`.

    sha256: of plans.json, dataset.json and the checkpoints of the folds. mirror_axes: the image axes (0 rows, 1 columns) that
    may be mirrored. place: where it was read from, for messages.
    """

    place: str
    recipe: ModelRecipe
    labels: Mapping[str, int]
    folds: tuple[str, ...]
    trainer: str
    configuration_name: str
    checkpoint: str
    sha256: str
    mirror_axes: tuple[int, ...]
    networks: tuple[nn.Module, ...]
    device: torch.device
    plans: PlansManager
    configuration: ConfigurationManager
    label_manager: LabelManager
    dataset: Mapping[str, Any]


def load_model(
    source: str | Path,
    folds: Sequence[int | str] | None = None,
    device: str = "cpu",
    *,
    trainer: str = "MSATrainer",
    configuration: str = "2d",
    plans: str = "nnUNetPlans",
    checkpoint: str = CHECKPOINT,
) -> Model:
    """Load a trained model without executing anything that its files hold.

    source: the model's folder, its export as a zip archive, or a dataset's number or name under nnUNet_results; trainer,
    configuration and plans tell the models of one dataset apart. folds: all that were trained where None. device: as torch
    names it, or "auto" for CUDA where there is one. Raises PredictionError for all that is no whole 2-D model of a dataset that
    `msa convert` made.
    """
    files = find_model(source, trainer, configuration, plans)
    plan, dataset = files.json("plans.json"), files.json("dataset.json")
    recipe = read_recipe(dataset, files.place)
    labels = read_labels(dataset, files.place)
    chosen = _folds(files, folds, checkpoint)
    processor.wait_passively()
    import torch
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from msa_trainer.prediction.architectures import build_network
    from msa_trainer.prediction.weights import read_checkpoint

    on = _device(device)
    digest = hashlib.sha256(files.read("plans.json") + files.read("dataset.json"))
    saved = []
    for fold in chosen:
        name = f"fold_{fold}/{checkpoint}"
        content = files.read(name)
        digest.update(content)
        saved.append(read_checkpoint(content, f"{files.place}/{name}"))
    made_by, configured = str(saved[0]["trainer_name"]), saved[0]["init_args"]["configuration"]
    manager = _planned(PlansManager, plan, configured, files.place)
    channels = len(dataset["channel_names"])
    label_manager = manager[0].get_label_manager(dict(dataset))
    heads = label_manager.num_segmentation_heads
    networks = [
        build_network(made_by, *manager, channels, heads, one["network_weights"], f"{files.place}/fold_{fold}").to(on)
        for fold, one in zip(chosen, saved, strict=True)
    ]
    mirror_axes = _mirror_axes(saved[0].get("inference_allowed_mirroring_axes"), files.place)
    return Model(
        files.place, recipe, labels, chosen, made_by, configured, checkpoint, digest.hexdigest(), mirror_axes, tuple(networks),
        torch.device(on), *manager, label_manager, dataset,
    )  # fmt: skip


def _folds(files: ModelFiles, asked: Sequence[int | str] | None, checkpoint: str) -> tuple[str, ...]:
    trained = files.folds(checkpoint)
    if not trained:
        others = sorted({name.split("/")[1] for name in files.names if name.startswith("fold_") and name.endswith(".pth")})
        remedy = f"it has {', '.join(others)}: name one with -chk" if others else "train it to its end"
        raise PredictionError(f"{files.place}: no fold has {checkpoint}; {remedy}.")
    if asked is None:
        return tuple(trained)
    chosen = tuple(str(fold) for fold in asked)
    missing = [fold for fold in chosen if f"fold_{fold}/{checkpoint}" not in files.names]
    if missing or not chosen:
        asked_for = ", ".join(missing) or "named"
        raise PredictionError(f"{files.place}: has no fold {asked_for} with {checkpoint}; trained: {', '.join(trained)}.")
    return chosen


def _planned(plans_manager: type[PlansManager], plan: dict[str, Any], name: str, place: str) -> tuple[Any, Any]:
    """nnU-Net's managers of the plans and of the 2-D configuration."""
    keys = ("dataset_name", "transpose_forward", "transpose_backward", "image_reader_writer", "label_manager")
    missing = [key for key in keys if key not in plan]
    if missing or name not in plan.get("configurations", {}):
        what = f"no {', '.join(missing)}" if missing else f"no configuration {name!r}, which the checkpoint is of"
        raise PredictionError(f"{place}/plans.json: has {what}; expected the plans that the model was trained with.")
    try:
        manager = plans_manager(plan)
        configuration = manager.get_configuration(name)
        patch = configuration.patch_size
        schemes, axes = configuration.normalization_schemes, len(configuration.spacing)
    except Exception as error:  # nnU-Net looks its keys up as it goes
        raise PredictionError(
            f"{place}/plans.json: configuration {name!r} is not whole ({error!r}); expected nnU-Net v2 plans of one 2-D model."
        ) from error
    if len(patch) != 2 or axes != 2 or not schemes:
        raise PredictionError(f"{place}: is a model for {len(patch)}-dimensional images ({name}); expected a 2-D one (-c 2d).")
    return manager, configuration


def _mirror_axes(axes: Any, place: str) -> tuple[int, ...]:
    chosen = tuple(axes or ())
    if not set(chosen) <= {0, 1}:
        raise PredictionError(f"{place}: its checkpoint mirrors the axes {chosen}; a 2-D model has the axes 0 and 1.")
    return chosen


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise PredictionError(f"the device {name!r} cannot be used here; expected cpu, cuda, cuda:1, mps or auto.") from error
    return name
