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
# Side of an image, and of the patch that nnU-Net plans for these images.
WHOLE = 256


@dataclass(frozen=True)
class Arm:
    """One trainer at one plan. network: "stock trainer" is nnUNetTrainer itself, with the optimiser alone changed (its
    mirroring along both axes, 180 degree rotations and targets included); "U-Net" nnU-Net's network in MSATrainer's recipe.

    patch: side in px; with 256 the patch is the whole image, in batches of as many pixels. mirrored: axes at prediction, None
    for the trainer's own (stock: both; MSATrainer: left-right).
    """

    network: Literal["stock trainer", "U-Net", "MSA"]
    recipe: AdversaryRecipe = OFF
    levers: Levers = field(default=ADAMW)
    channels: str = "zscore"
    views: str = "single"
    patch: int = 128
    mirrored: tuple[int, ...] | None = None


def _both(name: str, **changes: Any) -> dict[str, Arm]:
    """A lever in both networks, without adversary."""
    where = {key: changes.pop(key) for key in ("channels", "views", "patch") if key in changes}
    levers = replace(ADAMW, **changes)
    return {f"{short} + {name}": Arm(network, OFF, levers, **where) for short, network in (("unet", "U-Net"), ("msa", "MSA"))}  # type: ignore[arg-type]


ARMS: dict[str, Arm] = {
    "stock": Arm("stock trainer"),
    "stock, SGD": Arm("stock trainer", levers=Levers()),
    "stock, left-right": Arm("stock trainer", mirrored=(1,)),
    "msa, unmirrored": Arm("MSA", mirrored=()),
    "unet": Arm("U-Net"),
    "msa": Arm("MSA"),
    "msa + trained": Arm("MSA", TRAINED),
    "msa + frozen": Arm("MSA", FROZEN),
    "unet + trained": Arm("U-Net", TRAINED),
    **_both("lesion loss 0.2", lesion_loss=0.2),
    **_both("lesion loss 0.5", lesion_loss=0.5),
    **_both("lesion patches", lesion_patches=0.5),
    **_both("burden", burden_exponent=0.5),
    **_both("nearest targets", keep_tiny_targets=False),
    **_both("whole image", patch=WHOLE),
    **_both("anscombe", channels="anscombe"),
    **_both("counts", channels="counts"),
    **_both("count physics", channels="counts", count_physics=0.3),
    **_both("transplant", channels="counts", transplant=0.3),
    **_both("both views", views="paired", opposite_dropout=0.2),
    **_both("average", average=0.99),
    "msa + trained + lesion loss 0.2": Arm("MSA", TRAINED, replace(ADAMW, lesion_loss=0.2)),
    "msa + frozen + lesion loss 0.2": Arm("MSA", FROZEN, replace(ADAMW, lesion_loss=0.2)),
    "stock + whole image": Arm("stock trainer", patch=WHOLE),
    "msa + trained + whole image": Arm("MSA", TRAINED, patch=WHOLE),
    "msa + frozen + whole image": Arm("MSA", FROZEN, patch=WHOLE),
    "unet + trained + whole image": Arm("U-Net", TRAINED, patch=WHOLE),
    **_both("lesion loss 0.2 + whole image", patch=WHOLE, lesion_loss=0.2),
    **_both("burden + whole image", patch=WHOLE, burden_exponent=0.5),
    **_both("nearest targets + whole image", patch=WHOLE, keep_tiny_targets=False),
    **_both("anscombe + whole image", patch=WHOLE, channels="anscombe"),
    **_both("count physics + whole image", patch=WHOLE, channels="counts", count_physics=0.3),
    **_both("transplant + whole image", patch=WHOLE, channels="counts", transplant=0.3),
    **_both("average + whole image", patch=WHOLE, average=0.99),
}

KEY = ("set", "width", "steps", "arm", "seed")  # what tells one run from another


def run_name(run: Mapping[str, object]) -> str:
    """The name of a run's folders and log."""
    return "_".join(str(run[key]) for key in KEY).replace(" ", "").replace(",", "")
