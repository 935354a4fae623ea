"""Relative multi-scale L1 between features of image-mask pairs, per-lesion Dice: pure functions of tensors.

Shapes: z (B, C, *patch) is the network's input, m (B, K, *patch) the K foreground classes' (or regions') probabilities or
reference masks. Spatial axes are two or three.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

Pair = Literal["masked", "product", "concat"]

# Keeps 0/0 defined and stays far below the feature sum of a one-pixel lesion (> 0.1), which must not be damped.
EPSILON = 1e-3
# nnU-Net's smoothing of its Dice, against the one pixel that every annotated cell holds at least.
DICE_EPSILON = 1e-5
# Partial sums of each lesion: a GPU's additions to one address wait for each other. Reasoned, not timed; neutral on a CPU.
LANES = 64


def foreground_probabilities(logits: torch.Tensor, regions: bool) -> torch.Tensor:
    """m of a prediction in fp32: softmax without background (B, K+1 -> K), or the sigmoid of every region (B, K -> K)."""
    if regions:
        return torch.sigmoid(logits.float())
    return torch.softmax(logits.float(), dim=1)[:, 1:]


def reference_masks(
    target: torch.Tensor, classes: int, regions: bool, ignore_label: int | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """m of nnU-Net's full-resolution target, and where it counts.

    target: (B, 1, *patch) labels, or (B, K [+ 1 ignore], *patch) regions. Returns the masks (B, K, *patch) in fp32 and the
    validity mask (B, 1, *patch), None without an ignore label.
    """
    if regions:
        valid = None if ignore_label is None else 1 - target[:, -1:].float()
        return target[:, :classes].float(), valid
    labels = torch.arange(1, classes + 1, device=target.device, dtype=target.dtype)
    masks = (target == labels.view(1, -1, *[1] * (target.ndim - 2))).float()
    return masks, None if ignore_label is None else (target != ignore_label).float()


def foreground_union(target: torch.Tensor, regions: bool, ignore_label: int | None) -> torch.Tensor:
    """Where nnU-Net's full-resolution target has any foreground: (B, 1, *patch), bool. Ignored pixels are none.

    target: (B, 1, *patch) labels, or (B, K [+ 1 ignore], *patch) regions.
    """
    if regions:
        return (target if ignore_label is None else target[:, :-1]).ne(0).any(1, keepdim=True)
    return target > 0 if ignore_label is None else (target > 0) & (target != ignore_label)


def lesion_probability(logits: torch.Tensor, regions: bool) -> torch.Tensor:
    """Probability of any foreground in fp32: (B, heads, *patch) -> (B, 1, *patch).

    One minus the background's softmax (summed over the foreground, which keeps small values), or the largest region's sigmoid.
    """
    probabilities = foreground_probabilities(logits, regions)
    return probabilities.amax(1, keepdim=True) if regions else probabilities.sum(1, keepdim=True)


def per_lesion_dice(probability: torch.Tensor, reference: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Mean over the batch's lesions of 1 - (2 sum p r + eps) / (sum p + sum r + eps), sums over each lesion's own cell.

    probability, reference and cells: (B, 1, *patch); cells number each image's lesions from 1, 0 counts nowhere. A small
    lesion weighs as much as a big one, and a false positive weighs on the nearest lesion alone. Images without lesions
    contribute nothing: 0, with a gradient of 0, where the whole batch has none. The idea of Dice per component over its
    Voronoi cell is CC-Dice's (arXiv 2511.17146).
    """
    p, r = probability.float(), reference.float()
    bins = int(cells.max()) + 1
    image = LANES * torch.arange(len(cells), device=cells.device)[:, None]
    lane = torch.arange(cells[0].numel(), device=cells.device) % LANES
    place = (cells.flatten(1) + bins * (image + lane)).flatten()

    def totals(values: torch.Tensor) -> torch.Tensor:
        zeros = values.new_zeros(len(cells) * LANES * bins)
        return zeros.scatter_add(0, place, values.flatten()).view(-1, LANES, bins).sum(1)[:, 1:]

    annotated = totals(r)
    lost = 1 - (2 * totals(p * r) + DICE_EPSILON) / (totals(p) + annotated + DICE_EPSILON)
    lesions = annotated > 0  # an image with fewer lesions than another has empty cells behind its last
    return (lost * lesions).sum() / lesions.sum().clamp_min(1)


def pair_channels(kind: Pair, classes: int, channels: int) -> int:
    """Channels of a pair of K classes and C input channels."""
    return {"masked": classes * (1 + channels), "product": classes * channels, "concat": classes + channels}[kind]


def image_mask_pair(m: torch.Tensor, z: torch.Tensor, kind: Pair) -> torch.Tensor:
    """What the discriminator sees of one mask and its image: (B, K, ...) and (B, C, ...) -> (B, pair_channels, ...).

    "masked" [m, sigmoid(z) * m] for each class: a bounded positive image, because z-scored counts reach +40 on the bladder
    and are near 0 on cool lesions, and the mask itself. "product" z * m is SegAN's reading (Xue et al. 2018), "concat"
    [m, z] a conditional GAN's; which one the MSA-Net paper means by "image-mask pairs" is not known.
    """
    if kind == "concat":
        return torch.cat((m, z), dim=1)
    image = torch.sigmoid(z) if kind == "masked" else z
    product = (m[:, :, None] * image[:, None]).flatten(1, 2)
    return torch.cat((m, product), dim=1) if kind == "masked" else product


def relative_l1(prediction: Sequence[torch.Tensor], reference: Sequence[torch.Tensor]) -> torch.Tensor:
    """Relative L1 of every scale: sum|f - r| / (0.5 sum(|f| + |r|) + eps), one value a feature map, each in [0, 2].

    Sums run over the batch and all positions. Features of a bias-free network are positively homogeneous in its weights,
    so scaling the weights changes nothing and the discriminator can only choose *which* differences it looks at.
    """
    return torch.stack(
        [
            (f - r).abs().sum() / (0.5 * (f.abs().sum() + r.abs().sum()) + EPSILON)
            for f, r in zip(prediction, reference, strict=True)
        ]
    )


def segan_l1(prediction: Sequence[torch.Tensor], reference: Sequence[torch.Tensor]) -> torch.Tensor:
    """SegAN's loss as its authors' code has it, one summand a feature map; its total is the sum, not the mean.

    The code concatenates the flattened maps, weighted 1, 1, 2 ... 2, 4, and takes one mean |f - r| over all elements, so a
    map counts by its size.
    """
    weights = [1.0, 1.0, *[2.0] * (len(prediction) - 3), 4.0][: len(prediction)]
    elements = sum(f.numel() for f in prediction)
    return torch.stack([w * (f - r).abs().sum() / elements for w, f, r in zip(weights, prediction, reference, strict=True)])


class GradientScale(torch.autograd.Function):
    """The identity, whose backward multiplies the gradient by `weight`.

    It lets one backward serve both players: behind it the discriminator gets the full gradient of the loss, before it the
    generator gets `weight` times it.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: float) -> torch.Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0] * ctx.weight, None
