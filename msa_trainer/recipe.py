"""Every hyper-parameter of the adversarial part, once, beside its reason. None of them is known from the MSA-Net paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from msa_trainer.discriminator import Norm
from msa_trainer.losses import Pair


@dataclass(frozen=True)
class AdversaryRecipe:
    """How the discriminator is built, trained and weighed; variants replace single fields.

    Figures quoted as reasons come from width-reduced trials on synthetic scans (1,200 steps, three seeds), not from patients.
    """

    # "frozen" keeps random weights: the control that tells whether training the discriminator helps. "off" has none.
    mode: Literal["trained", "frozen", "off"] = "trained"
    # A bounded image and the mask as a channel of its own: gradient in line with Dice + CE (cosine 0.9; 0.6 for the product).
    pair: Pair = "masked"
    # "relative" is bounded by 2; the plain mean is 1e-3 when 0.2 % of the pixels are lesion.
    loss: Literal["relative", "segan"] = "relative"
    # Without a norm the discriminator's features grow 1e5-fold within 400 steps.
    norm: Norm = "spectral"
    # Weight clipping (SegAN 0.05) saturates within 50 steps: all weights then stand at the bound.
    clip: float | None = None
    # Gradient of about an eighth of Dice + CE; 0.5 showed no gain over 0.1.
    weight: float = 0.1
    # Share of the epochs without adversary: a loss on features of noise teaches nothing before lesions are roughly found.
    start: float = 0.35
    # Share of the epochs over which the weight rises linearly, so that the optimiser's momentum can follow.
    ramp: float = 0.1
    # Adam's rate at which the discriminator stayed stable; it decays polynomially with the generator's.
    learning_rate: float = 5e-4
    # GAN practice (Radford et al. 2016): a short memory, because the opponent changes.
    betas: tuple[float, float] = (0.5, 0.999)
    # The loss is homogeneous in the weights, a single odd batch is not: its gradient norm is cut here.
    gradient_norm: float = 1.0
    # The adversarial gradient at the logits may be at most this share of the segmentation loss's; None: no governor.
    ratio_limit: float | None = 0.5

    def weight_at(self, epoch: int, epochs: int) -> float:
        """Scheduled weight of an epoch: zero, linear ramp, constant. `epoch` counts from 0."""
        if self.mode == "off":
            return 0.0
        first = round(self.start * epochs)
        ramp = max(1, round(self.ramp * epochs))
        return self.weight * min(max((epoch + 1 - first) / ramp, 0.0), 1.0)
