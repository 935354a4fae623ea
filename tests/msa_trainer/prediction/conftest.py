"""A network without weights, which marks the hottest pixels, and studies for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import highdicom.seg  # noqa: F401  workers are copies of this process and need not import it each
import numpy as np
import pandas as pd  # noqa: F401
import pydicom
import pytest
import skimage.measure  # noqa: F401
from scipy import ndimage

from dataset_conversion.dicom_nm import stable_uid, write_study
from dataset_conversion.phantom import write_phantom
from dataset_conversion.scintigram import VIEWS, Scintigram, View
from msa_trainer.prediction.case import InputRecipe
from msa_trainer.prediction.network import Answer
from msa_trainer.prediction.options import PredictOptions

SPACING = (2.26, 2.26)
SHAPE = (96, 48)


@dataclass
class HotSpots:
    """Marks what is four times as hot as most of the image; keeps the images it was given, does `then` before it answers."""

    recipe: InputRecipe = InputRecipe("none", "single", "zscore", SPACING)  # noqa: RUF009  frozen
    labels: dict[str, int] = field(default_factory=lambda: {"background": 0, "metastasis": 1})
    sha256: str = "0" * 64
    seen: list[np.ndarray] = field(default_factory=list)
    then: Callable[[int], None] = lambda number: None

    def description(self) -> dict[str, Any]:
        return {"device": "none", "backend": "test"}

    def predict(self, images: Sequence[np.ndarray], spacing_mm: tuple[float, float]) -> list[Answer]:
        self.then(len(self.seen))
        self.seen += images
        return [self._answer(image[0]) for image in images]

    def _answer(self, image: np.ndarray) -> Answer:
        smooth = ndimage.gaussian_filter(image, 1.5)
        hot = np.clip(smooth / (8 * np.percentile(smooth, 80)), 0, 1)
        return Answer((hot > 0.5).astype(np.uint8), np.stack([1 - hot, hot]).astype(np.float32))


@pytest.fixture
def network() -> HotSpots:
    return HotSpots()


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight studies of seven phantom patients: the last of them comes twice."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantom(folder, 7, seed=3)
    return folder


@pytest.fixture
def write_scan() -> Callable[..., Path]:
    """Write one small DICOM scan with a hot disc in each view; `edit` may change the data set before it is saved."""

    def write(
        path: Path, patient: str = "ZURICH-1", visit: str = "1", views: Sequence[View] = VIEWS,
        shape: tuple[int, int] = SHAPE, spacing: tuple[float, float] = SPACING, edit: Callable[[Any], None] | None = None,
    ) -> Path:  # fmt: skip
        rng = np.random.default_rng(sum(map(ord, patient + visit)))
        rows, columns = np.mgrid[: shape[0], : shape[1]]
        disc = (rows - shape[0] // 2) ** 2 + (columns - shape[1] // 3) ** 2 <= 16
        study, instance = stable_uid(patient, visit), stable_uid(patient, visit, "instance", *views, str(shape))
        scintigrams = [
            Scintigram(rng.poisson(5 + 60 * disc).astype(np.uint16), spacing, view, patient, study, instance, number, path)
            for number, view in enumerate(views, start=1)
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        date = f"202001{1 + sum(map(ord, visit)) % 28:02d}"
        identity = {"patient_name": "Invented^Person", "patient_sex": "F", "study_date": date}
        write_study(path, scintigrams, **identity, study_description="Bone scan")
        if edit is not None:
            dataset = pydicom.dcmread(path)
            edit(dataset)
            dataset.save_as(path)
        return path

    return write


@pytest.fixture
def scans(tmp_path: Path, write_scan: Callable[..., Path]) -> Path:
    """Three patients, one of them with two studies."""
    folder = tmp_path / "Meier_Hans"
    for patient, visit in ((1, 1), (2, 1), (2, 2), (3, 1)):
        write_scan(folder / f"Meier{patient}_{visit}.dcm", f"ZURICH-{patient}", str(visit))
    return folder


@pytest.fixture
def small(scans: Path, tmp_path: Path) -> PredictOptions:
    return PredictOptions((scans,), tmp_path / "out", "model", jobs=1)


@pytest.fixture
def options(phantoms: Path, tmp_path: Path) -> PredictOptions:
    return PredictOptions((phantoms,), tmp_path / "out", "model")


@dataclass(frozen=True)
class ModelWriter:
    """Writes the folder of a small model with random weights, as nnUNetv2_train leaves one."""

    root: Path

    def __call__(
        self, folder_name: str = "MSATrainer__nnUNetPlans__2d", *, trainer: str = "MSATrainer", channels: str = "zscore",
        views: str = "single", folds: Sequence[int | str] = (0,), patch: Sequence[int] = (64, 48), mirror: Sequence[int] = (1,),
        ending: str = ".nii.gz", labels: dict[str, int] | None = None,
    ) -> Path:  # fmt: skip
        import torch
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        from msa_trainer import variants

        folder = self.root / "Dataset007_Small" / folder_name
        n_channels = 2 if views == "paired" else 1
        plans = small_plans(n_channels, channels, patch, ending)
        classes = labels or {"background": 0, "metastasis": 1}
        channel = {"zscore": "zscore", "anscombe": "anscombe", "counts": "noNorm"}[channels]
        recipe = {"version": 1, "crop": "none", "views": views, "channels": channels, "pixel_rule": "centre",
                  "spacing_mm": list(SPACING)}  # fmt: skip
        dataset = {"channel_names": {str(n): channel for n in range(n_channels)}, "labels": classes, "numTraining": 4,
                   "file_ending": ending, "msa": recipe}  # fmt: skip
        folder.mkdir(parents=True)
        (folder / "plans.json").write_text(json.dumps(plans))
        (folder / "dataset.json").write_text(json.dumps(dataset))
        manager = PlansManager(plans)
        by_name = getattr(variants, trainer, None) or recursive_find_trainer_class_by_name(trainer)
        for number, fold in enumerate(folds):
            torch.manual_seed(number)
            network = by_name.build_network_architecture(
                manager, manager.get_configuration("2d"), n_channels, len(classes), enable_deep_supervision=False
            )
            for name, parameter in network.named_parameters():
                if name.endswith("norm.weight"):  # residual branches begin with a scale of 0
                    torch.nn.init.uniform_(parameter, 0.5, 1)
            checkpoint = {
                "network_weights": network.state_dict(),
                "trainer_name": trainer,
                "init_args": {"configuration": "2d", "fold": fold},
                "inference_allowed_mirroring_axes": tuple(mirror) or None,
            }
            (folder / f"fold_{fold}").mkdir()
            torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
        return folder


def small_plans(n_channels: int, channels: str, patch: Sequence[int], ending: str) -> dict[str, Any]:
    """nnU-Net's plans of a 2-D network of three stages."""
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    kwargs = {
        "n_stages": 3, "features_per_stage": [8, 16, 32], "conv_op": "torch.nn.modules.conv.Conv2d",
        "kernel_sizes": [[3, 3]] * 3, "strides": [[1, 1], [2, 2], [2, 2]], "n_conv_per_stage": [2] * 3,
        "n_conv_per_stage_decoder": [2] * 2, "conv_bias": True, "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "dropout_op": None, "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
    }  # fmt: skip
    scheme = "NoNormalization" if channels == "counts" else "ZScoreNormalization"
    configuration = {
        "data_identifier": "nnUNetPlans_2d", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
        "patch_size": list(patch), "median_image_size_in_voxels": list(patch), "normalization_schemes": [scheme] * n_channels,
        "spacing": [1.0, 1.0] if ending == ".png" else list(SPACING),
        "use_mask_for_norm": [False] * n_channels, "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape", "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**resampling, "order": 1}, "batch_dice": True,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet", "arch_kwargs": kwargs,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }  # fmt: skip
    return {
        "dataset_name": "Dataset007_Small", "plans_name": "nnUNetPlans", "configurations": {"2d": configuration},
        "original_median_spacing_after_transp": [999 * SPACING[0], *SPACING], "transpose_forward": [0, 1, 2],
        "original_median_shape_after_transp": [1, *patch], "transpose_backward": [0, 1, 2],
        "image_reader_writer": "NaturalImage2DIO" if ending == ".png" else "SimpleITKIO", "label_manager": "LabelManager",
        "experiment_planner_used": "ExperimentPlanner",
        "foreground_intensity_properties_per_channel": {str(n): {} for n in range(n_channels)},
    }  # fmt: skip


@pytest.fixture
def write_model(tmp_path: Path) -> ModelWriter:
    return ModelWriter(tmp_path / "nnUNet_results")
