"""A view -> the network's input by the model's own recipe, and what the network answers -> the whole view.

Every step is one of `dataset_conversion`'s functions in the order in which conversion calls them, so a scan that is predicted
is given the very pixels that it would have been given for training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset_conversion.errors import ConversionError
from dataset_conversion.network_input import Channels, network_input
from dataset_conversion.opposite_view import opposite_channel
from dataset_conversion.quality import Flag
from dataset_conversion.scintigram import Scintigram
from dataset_conversion.staging.options import Crop, Views
from dataset_conversion.thorax import ThoraxBox, crop, thorax_box, uncrop
from msa_trainer.prediction.errors import PredictionError

# Pixel size of a scan over that of the model's training scans, or the reverse. nnU-Net resamples to the size it planned for,
# and whole-body pixels of one matrix differ by a tenth or two between cameras (2.0 to 2.4 mm).
FLAGGED_SPACING = 1.2
# Half the size (a matrix twice as fine), and the 1 mm that writers put where they know no size, lie beyond it.
REFUSED_SPACING = 1.75


@dataclass(frozen=True)
class InputRecipe:
    """How the images a model was trained on were made; spacing_mm: (row, column), the median of the training scans."""

    crop: Crop
    views: Views
    channels: Channels
    spacing_mm: tuple[float, float]


@dataclass(frozen=True)
class NetworkCase:
    """One view as the network sees it.

    pixels: (C, h, w) float32, the view within its box and, of a paired model, its opposite view. box: where they lie in the
    whole view. case: the pseudonymous name of an image that `msa convert` wrote, else "". flags: doubts about spacing, crop and
    opposite view. sha256: of the view's file.
    """

    view: Scintigram
    pixels: np.ndarray
    box: ThoraxBox
    case: str = ""
    flags: tuple[Flag, ...] = ()
    sha256: str = ""


def network_case(view: Scintigram, opposite: Scintigram | None, recipe: InputRecipe) -> NetworkCase:
    """Crop and transform the counts of one view, for a paired model with its opposite view as second channel.

    Raises PredictionError where the pixel size is far from the model's, or the model needs an opposite view that is missing
    or of another shape.
    """
    flags = spacing_flags(view, recipe)
    box = whole_box(view.counts.shape)
    if recipe.crop == "thorax":
        box = thorax_box(view.counts, view.spacing_mm)
        if box.doubt:
            flags.append(Flag("crop", "warning", f"The thorax is in doubt: {box.doubt}"))
    channels = [network_input(crop(view.counts, box), recipe.channels)]
    if recipe.views == "paired":
        if opposite is None:
            raise PredictionError(
                f"{view.source}: its {view.view} view has no opposite view in the study, and the model was trained on both; add"
                " it, or use a model of single views."
            )
        try:
            counts, _, doubt = opposite_channel(view.counts, opposite.counts)
        except ConversionError as error:
            raise PredictionError(f"{view.source}: {error}") from error
        channels.append(network_input(crop(counts, box), recipe.channels))
        if doubt:
            flags.append(Flag("opposite", "warning", doubt))
    return NetworkCase(view, np.stack(channels), box, flags=tuple(flags))


def spacing_flags(view: Scintigram, recipe: InputRecipe) -> list[Flag]:
    """Flag a pixel size that differs from the training scans' by a factor of 1.2; raises PredictionError from 1.75 on."""
    ratios = [own / trained for own, trained in zip(view.spacing_mm, recipe.spacing_mm, strict=True)]
    farthest = max(max(ratio, 1 / ratio) for ratio in ratios)
    found = f"{view.spacing_mm[0]:g} x {view.spacing_mm[1]:g} mm"
    expected = f"about {recipe.spacing_mm[0]:g} x {recipe.spacing_mm[1]:g} mm"
    if farthest >= REFUSED_SPACING:
        raise PredictionError(
            f"{view.source}: its pixels are {found}, the model was trained on {expected}; check the size that the file states,"
            " or use a model trained on such scans."
        )
    if farthest >= FLAGGED_SPACING:
        return [Flag("spacing", "warning", f"The pixels are {found}, the model was trained on {expected}.")]
    return []


def whole_box(shape: tuple[int, ...]) -> ThoraxBox:
    """The box that holds all of a view."""
    return ThoraxBox(0, 0, shape[0], shape[1], "")


def whole_mask(mask: np.ndarray, case: NetworkCase) -> np.ndarray:
    """Put a mask (h, w) of class numbers back into the view: (H, W) uint8, background outside of the box."""
    return uncrop(mask.astype(np.uint8), case.box, case.view.counts.shape, 0)


def whole_probabilities(probabilities: np.ndarray, case: NetworkCase) -> np.ndarray:
    """Put (classes, h, w) back into the view: (classes, H, W) float32, certain background outside of the box."""
    whole = uncrop(probabilities.astype(np.float32), case.box, case.view.counts.shape, 0)
    outside = uncrop(np.zeros(probabilities.shape[-2:], np.float32), case.box, case.view.counts.shape, 1)
    whole[0] += outside
    return whole
