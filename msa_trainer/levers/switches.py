"""Every lever beyond the network and its adversary, once, beside its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OptimizerName = Literal["sgd", "adamw"]


@dataclass(frozen=True)
class Levers:
    """What may help small lesions, each a switch that any network can be trained with.

    The defaults are nnU-Net's own habit but for `keep_tiny_targets`; benchmarks/accuracy.py measures them, and trainer.py says
    which MSATrainer has.
    """

    # Weight of the per-lesion Dice (one connected component over its Voronoi cell): a small lesion counts as much as a big one.
    lesion_loss: float = 0.0
    # Share of a batch's patches that are centred on a lesion drawn by size stratum, in the place of a random foreground pixel,
    # with which big lesions crowd out small ones. Needs patches smaller than the image.
    lesion_patches: float = 0.0
    # Draw cases by lesion burden: weight (1 + lesions) ** exponent; 0 draws all alike.
    burden_exponent: float = 0.0
    # Deep-supervision targets: the maximum over a coarse pixel keeps tiny lesions, nnU-Net's nearest pixel loses them.
    keep_tiny_targets: bool = True
    # Probability of a Poisson-true augmentation (thinning, blur or attenuation), which replace nnU-Net's noise, blur,
    # brightness, contrast and gamma; needs counts.
    count_physics: float = 0.0
    # Probability that lesions of another training case are copied onto an image; needs counts.
    transplant: float = 0.0
    # Probability that the opposite view's channel is emptied, so that one view still works; needs `--views paired`.
    opposite_dropout: float = 0.0
    # "adamw" with linear warm-up, because SGD with momentum 0.99 has hardly started after a few hundred steps.
    optimizer: OptimizerName = "sgd"
    # AdamW's rate after the warm-up, as in the trials (800 steps: Dice 0.39, SGD's 0.22). nnU-Net's SGD keeps its own 1e-2.
    learning_rate: float = 2e-3
    # Decay a step of the moving average of the generator's weights that validates and is saved; None: no average.
    average: float | None = None

    @property
    def in_loader(self) -> bool:
        """Whether any lever changes what the loaders bring; where none does, nnU-Net's own loaders are used."""
        shares = (self.lesion_loss, self.lesion_patches, self.burden_exponent, self.count_physics, self.transplant)
        return any(shares) or self.opposite_dropout > 0 or not self.keep_tiny_targets
