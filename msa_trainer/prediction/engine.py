"""Images in, masks out: what nnUNetv2_predict computes, in one process that loads once and keeps its memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import insert_crop_into_image

from msa_trainer.prediction import processor
from msa_trainer.prediction.case import InputRecipe
from msa_trainer.prediction.model import Model
from msa_trainer.prediction.network import Answer
from msa_trainer.prediction.tiles import ensembled_logits

# nnU-Net's reader of 2-D images puts this times the pixel size between slices, and 1 mm for the pixels of PNG.
SLICE_DISTANCE = 999


class Engine:
    """A loaded model at work: masks are nnUNetv2_predict's, pixel for pixel, on the same number of threads.

    mirroring: as without nnU-Net's --disable_tta, mirror images along the axes that the model was trained with are averaged.
    """

    recipe: InputRecipe
    labels: Mapping[str, int]
    sha256: str

    def __init__(self, model: Model, mirroring: bool = True) -> None:
        self.model = model
        self.recipe, self.labels, self.sha256 = model.recipe, model.labels, model.sha256
        self.mirror_axes = model.mirror_axes if mirroring else ()
        self._preprocessor = model.configuration.preprocessor_class(verbose=False)
        if model.device.type == "cpu":
            torch.set_num_threads(processor.threads())
            processor.keep_memory()

    def description(self) -> dict[str, Any]:
        """What decides the masks beside the weights, for run.json; no paths."""
        model = self.model
        return {
            "trainer": model.trainer,
            "configuration": model.configuration_name,
            "folds": list(model.folds),
            "checkpoint": model.checkpoint,
            "device": str(model.device),
            "threads": torch.get_num_threads() if model.device.type == "cpu" else None,
            "mirrored_axes": list(self.mirror_axes),
        }

    def predict(self, images: Sequence[np.ndarray], spacing_mm: tuple[float, float]) -> list[Answer]:
        """Predict images (C, H, W), each as `network_input` makes it, of one (row, column) pixel size in mm.

        Raises ValueError for images of another shape or of fewer or more channels than the model has, PredictionError where
        the network's logits overflow.
        """
        channels = len(self.model.dataset["channel_names"])
        for index, image in enumerate(images):
            if image.ndim != 3 or image.shape[0] != channels or image.size == 0:
                raise ValueError(f"image {index} is {image.shape}; expected ({channels}, rows, columns).")
        return [self._predict(image, spacing_mm) for image in images]

    def _predict(self, image: np.ndarray, spacing_mm: tuple[float, float]) -> Answer:
        model = self.model
        properties = {"spacing": self._spacing_for_nnunet(spacing_mm)}
        data, _, properties = self._preprocessor.run_case_npy(
            image[:, None], None, properties, model.plans, model.configuration, model.dataset
        )
        patch = (int(model.configuration.patch_size[0]), int(model.configuration.patch_size[1]))
        with torch.inference_mode(), self._precision():
            prepared = torch.from_numpy(data).to(dtype=torch.float32, memory_format=torch.contiguous_format)
            logits = ensembled_logits(
                prepared.to(model.device), model.networks, patch, model.label_manager.num_segmentation_heads, self.mirror_axes
            )
        return self._in_the_image(logits.numpy(), properties)

    def _in_the_image(self, logits: np.ndarray, properties: dict[str, Any]) -> Answer:
        """Logits of the resampled, cropped image -> the answer in the image's own pixels, as nnU-Net exports it.

        The mask is taken from the logits, as nnUNetv2_predict takes it without --save_probabilities.
        """
        model, labels = self.model, self.model.label_manager
        forward, backward = model.plans.transpose_forward, model.plans.transpose_backward
        spacing = [properties["spacing"][axis] for axis in forward]
        planned = [spacing[0], *model.configuration.spacing]
        inside = properties["shape_after_cropping_and_before_resampling"]
        logits = model.configuration.resampling_fn_probabilities(logits, inside, planned, spacing)
        mask = np.zeros(properties["shape_before_cropping"], np.uint8)
        box = properties["bbox_used_for_cropping"]
        mask = insert_crop_into_image(mask, labels.convert_logits_to_segmentation(logits), box)
        probabilities = labels.revert_cropping_on_probabilities(
            labels.apply_inference_nonlin(logits), box, properties["shape_before_cropping"]
        )
        whole = probabilities.numpy().transpose([0, *(axis + 1 for axis in backward)])
        return Answer(np.asarray(mask).transpose(backward)[0].astype(np.uint8), whole[:, 0])

    def _spacing_for_nnunet(self, spacing_mm: tuple[float, float]) -> list[float]:
        """What nnU-Net's reader would say of the written file: NIfTI keeps single precision, PNG no size at all."""
        if self.model.dataset.get("file_ending") == ".png":
            return [float(SLICE_DISTANCE), 1.0, 1.0]
        rows, columns = (float(np.float32(mm)) for mm in spacing_mm)
        return [SLICE_DISTANCE * max(rows, columns), rows, columns]

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cuda") if self.model.device.type == "cuda" else nullcontext()
