"""The arms of the accuracy benchmark: network, adversary, levers, channels and patch of each; everything else is the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from msa_trainer.levers import Levers
from msa_trainer.recipe import AdversaryRecipe

OFF, FROZEN, TRAINED = AdversaryRecipe(mode="off"), AdversaryRecipe(mode="frozen"), AdversaryRecipe()
# SGD with momentum 0.99 has hardly started within a screen's steps, so every arm has AdamW unless its name says otherwise.
ADAMW = Levers(optimizer="adamw")
WHOLE = 256  # side of the images in px, and of the patch that nnU-Net plans for them


@dataclass(frozen=True)
class Arm:
    """One trainer at one plan. network: "stock trainer" is nnUNetTrainer itself, with the optimiser alone changed (its
    mirroring along both axes, 180 degree rotations and targets included); "U-Net" nnU-Net's network in MSATrainer's recipe.

    patch: side in px; batches have as many pixels whatever it is. mirrored: axes at prediction, None for the trainer's own
    (stock: both; MSATrainer: left-right).
    """

    network: Literal["stock trainer", "U-Net", "MSA"]
    recipe: AdversaryRecipe = OFF
    levers: Levers = field(default=ADAMW)
    channels: str = "zscore"
    views: str = "single"
    patch: int = WHOLE
    mirrored: tuple[int, ...] | None = None


# What each lever changes, at the one strength that is measured (the lesion loss at two).
LEVERS: dict[str, dict[str, Any]] = {
    "lesion loss 0.2": {"lesion_loss": 0.2},
    "lesion loss 0.5": {"lesion_loss": 0.5},
    "burden": {"burden_exponent": 0.5},
    "nearest targets": {"keep_tiny_targets": False},
    "anscombe": {"channels": "anscombe"},
    "counts": {"channels": "counts"},
    "count physics": {"channels": "counts", "count_physics": 0.3},
    "transplant": {"channels": "counts", "transplant": 0.3},
    "both views": {"views": "paired", "opposite_dropout": 0.2},
    "average": {"average": 0.99},
}
# No two of these exclude each other, and whole-image patches leave room for all.
TOGETHER = ("lesion loss 0.2", "burden", "count physics", "transplant", "both views", "average")
LEVERS["all levers"] = {field: value for name in TOGETHER for field, value in LEVERS[name].items()}


def _both(name: str, changes: Mapping[str, Any]) -> dict[str, Arm]:
    """A lever in both networks, without adversary."""
    where = {key: value for key, value in changes.items() if key in ("channels", "views")}
    levers = replace(ADAMW, **{key: value for key, value in changes.items() if key not in where})
    return {f"{short} + {name}": Arm(network, OFF, levers, **where) for short, network in (("unet", "U-Net"), ("msa", "MSA"))}  # type: ignore[arg-type]


_WHOLE_IMAGE: dict[str, Arm] = {
    "stock": Arm("stock trainer"),
    "stock, SGD": Arm("stock trainer", levers=Levers()),
    "stock, left-right": Arm("stock trainer", mirrored=(1,)),
    "msa, unmirrored": Arm("MSA", mirrored=()),
    "unet": Arm("U-Net"),
    "msa": Arm("MSA"),
    "msa + trained": Arm("MSA", TRAINED),
    "msa + frozen": Arm("MSA", FROZEN),
    "unet + trained": Arm("U-Net", TRAINED),
    **{arm: made for name, changes in LEVERS.items() for arm, made in _both(name, changes).items()},
    "msa + trained + lesion loss 0.2": Arm("MSA", TRAINED, replace(ADAMW, lesion_loss=0.2)),
    "msa + frozen + lesion loss 0.2": Arm("MSA", FROZEN, replace(ADAMW, lesion_loss=0.2)),
}
SMALL_PATCHES = " + small patches"
_ONLY_SMALL = _both("lesion patches", {"lesion_patches": 0.5})  # a patch as large as the image is centred on nothing
ARMS = _WHOLE_IMAGE | {
    name + SMALL_PATCHES: replace(arm, patch=WHOLE // 2) for name, arm in (_WHOLE_IMAGE | _ONLY_SMALL).items()
}

KEY = ("set", "width", "steps", "arm", "seed")  # what tells one run from another


def run_name(run: Mapping[str, object]) -> str:
    """The name of a run's folders and log."""
    return "_".join(str(run[key]) for key in KEY).replace(" ", "").replace(",", "")
