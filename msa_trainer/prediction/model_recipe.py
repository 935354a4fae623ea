"""What a model's dataset.json says of the images it was trained on, which new scans must be made into."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dataset_conversion.network_input import CHANNELS
from dataset_conversion.nnunet_raw import RECIPE_VERSION
from dataset_conversion.rasterise import PIXEL_RULES, PixelRule
from dataset_conversion.staging.options import CROPS, VIEW_MODES
from msa_trainer.prediction.case import InputRecipe
from msa_trainer.prediction.errors import PredictionError

CONVERT_AGAIN = "Convert the scans with `msa convert`, plan and train on that dataset."


@dataclass(frozen=True)
class ModelRecipe(InputRecipe):
    """How the model's training data were made; pixel_rule: by which outlines became its masks."""

    pixel_rule: PixelRule


def read_recipe(dataset: Mapping[str, Any], place: str) -> ModelRecipe:
    """The recipe in a model's dataset.json; raises PredictionError for a model of other data. place: for messages."""
    found = dataset.get("msa")
    if not isinstance(found, dict):
        raise PredictionError(f'{place}/dataset.json: does not say how its scans were converted (no "msa"). {CONVERT_AGAIN}')
    if found.get("version") != RECIPE_VERSION:
        raise PredictionError(
            f"{place}/dataset.json: its recipe has version {found.get('version')!r}, this package reads {RECIPE_VERSION}; use"
            " the package that the dataset was converted with, or a newer one."
        )
    allowed = {"crop": CROPS, "views": VIEW_MODES, "channels": CHANNELS, "pixel_rule": PIXEL_RULES}
    for key, values in allowed.items():
        if found.get(key) not in values:
            raise PredictionError(
                f"{place}/dataset.json: msa.{key} is {found.get(key)!r}; expected {' or '.join(values)}. {CONVERT_AGAIN}"
            )
    spacing = found.get("spacing_mm")
    if not isinstance(spacing, list) or len(spacing) != 2 or not all(_is_length(mm) for mm in spacing):
        raise PredictionError(
            f"{place}/dataset.json: msa.spacing_mm is {spacing!r}; expected two pixel sizes in mm. {CONVERT_AGAIN}"
        )
    names = dataset.get("channel_names")
    expected = 2 if found["views"] == "paired" else 1
    if not isinstance(names, dict) or len(names) != expected:
        n = len(names) if isinstance(names, dict) else "no"
        raise PredictionError(
            f"{place}/dataset.json: has {n} channel names; {found['views']} views have {expected}. {CONVERT_AGAIN}"
        )
    return ModelRecipe(
        found["crop"], found["views"], found["channels"], (float(spacing[0]), float(spacing[1])), found["pixel_rule"]
    )


def _is_length(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def read_labels(dataset: Mapping[str, Any], place: str) -> dict[str, int]:
    """The classes by name; raises PredictionError for regions, which no dataset of `msa convert` has."""
    labels = dataset.get("labels")
    if not isinstance(labels, dict) or labels.get("background") != 0 or not all(type(n) is int for n in labels.values()):
        raise PredictionError(
            f"{place}/dataset.json: its labels are {labels!r}; expected background 0 and one number for each class, no regions."
            f" {CONVERT_AGAIN}"
        )
    return labels
