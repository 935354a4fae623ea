"""The trained network as the batch sees it: images in, masks and probabilities out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from msa_trainer.prediction.case import InputRecipe

if TYPE_CHECKING:
    from msa_trainer.prediction.options import PredictOptions


class Answer(NamedTuple):
    """Of one image (C, h, w): mask (h, w) uint8 of class numbers, probabilities (classes, h, w) float32."""

    mask: np.ndarray
    probabilities: np.ndarray


class Network(Protocol):
    """A loaded model. recipe: how its images are made. labels: as in nnU-Net's dataset.json. sha256: of all its weights."""

    recipe: InputRecipe
    labels: Mapping[str, int]
    sha256: str

    def description(self) -> dict[str, Any]:
        """Device, back end, folds and the like for run.json; no paths."""
        ...

    def predict(self, images: Sequence[np.ndarray], spacing_mm: tuple[float, float]) -> Sequence[Answer]:
        """Predict images (C, h, w) of one pixel size."""
        ...


def open_network(options: PredictOptions) -> Network:
    """Load the model that `options` name; raises PredictionError. Imports torch, so the workers should run by now."""
    from msa_trainer.prediction.model import load_model

    model = load_model(
        options.model, options.fold, options.device, trainer=options.trainer, configuration=options.configuration,
        plans=options.plans, checkpoint=options.checkpoint,
    )  # fmt: skip
    from msa_trainer.prediction.engine import Engine

    return Engine(model, options.mirroring)
