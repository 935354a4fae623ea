"""A tiny preprocessed nnU-Net dataset, planned by nnU-Net itself, and trainers on it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

torch.set_num_threads(1)  # bit-equal runs, and kind to the other tests on two cores

DATASET = "Dataset901_Tiny"
CASES = 8
SIDE = 64


def write_tiny_dataset(raw: Path) -> None:
    """Eight 64x64 Poisson images with bright discs, 2-D NIfTI, as the converter writes them."""
    folder = raw / DATASET
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for index in range(CASES):
        rng = np.random.default_rng(index)
        label = np.zeros((SIDE, SIDE), np.uint8)
        for _ in range(3):
            row, column, radius = *rng.uniform(10, SIDE - 10, 2), rng.uniform(2, 5)
            label[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = 1
        counts = rng.poisson(5 + 20 * label).astype(np.float32) + 1
        for array, path in ((counts, f"imagesTr/case_{index}_0000.nii.gz"), (label, f"labelsTr/case_{index}.nii.gz")):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((2.26, 2.26))
            sitk.WriteImage(image, str(folder / path))
    (folder / "dataset.json").write_text(
        json.dumps(
            {
                "channel_names": {"0": "counts"},
                "labels": {"background": 0, "metastasis": 1},
                "numTraining": CASES,
                "file_ending": ".nii.gz",
            }
        )
    )
    names = [f"case_{i}" for i in range(CASES)]
    folds = [{"train": names[:6], "val": names[6:]}, {"train": names[2:], "val": names[:2]}]
    (folder / "splits_final.json").write_text(json.dumps(folds))


@pytest.fixture(scope="session")
def nnunet_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nnU-Net's three folders with the tiny dataset planned and preprocessed by nnU-Net."""
    root = tmp_path_factory.mktemp("nnunet")
    for name in ("raw", "preprocessed", "results"):
        (root / name).mkdir()
        os.environ[f"nnUNet_{name}"] = str(root / name)
    os.environ["nnUNet_n_proc_DA"] = "1"
    write_tiny_dataset(root / "raw")
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    api.extract_fingerprints([901], num_processes=1)
    api.plan_experiments([901])
    api.preprocess([901], configurations=["2d"], num_processes=[1])
    os.environ["nnUNet_n_proc_DA"] = "0"
    return root


@pytest.fixture
def plans(nnunet_root: Path) -> Callable[[], dict[str, Any]]:
    """A fresh copy of nnU-Net's plans, as `nnUNetv2_train` hands them over, made narrow enough for a quick step."""
    file = nnunet_root / "preprocessed" / DATASET / "nnUNetPlans.json"

    def fresh() -> dict[str, Any]:
        content: dict[str, Any] = json.loads(file.read_text())
        content["continue_training"] = False
        kwargs = content["configurations"]["2d"]["architecture"]["arch_kwargs"]
        kwargs["features_per_stage"] = [min(8 * 2**i, 32) for i in range(kwargs["n_stages"])]
        return content

    return fresh


@pytest.fixture
def dataset_json(nnunet_root: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((nnunet_root / "preprocessed" / DATASET / "dataset.json").read_text())
    return content


@pytest.fixture
def make_trainer(
    plans: Callable[[], dict[str, Any]], dataset_json: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Build a trainer class on the tiny dataset, with its results in this test's own folder."""
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))

    def build(
        trainer_class: type, fold: int | str = 0, epochs: int = 3, steps: int = 3, counts: bool = False,
        device: str = "cpu", **attributes: Any,
    ) -> Any:  # fmt: skip
        content, dataset = plans(), dataset_json
        if counts:  # as `--channels counts` has it planned
            content["configurations"]["2d"]["normalization_schemes"] = ["NoNormalization"]
            dataset = dataset_json | {"msa": {"channels": "counts"}}
        trainer = trainer_class(content, "2d", fold, dataset, torch.device(device))
        trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = epochs, steps, 1
        for name, value in attributes.items():
            setattr(trainer, name, value)
        return trainer

    return build


@pytest.fixture
def store_cases(tmp_path: Path) -> Callable[[Mapping[str, tuple[np.ndarray, np.ndarray]]], Any]:
    """Store identifier -> (image (C, [slices,] H, W), labels ([slices,] H, W)) as nnU-Net's preprocessed dataset."""
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    def store(cases: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Any:
        for identifier, (image, labels) in cases.items():
            data = (image if image.ndim == 4 else image[:, None]).astype(np.float32)
            segmentation = (labels if labels.ndim == 3 else labels[None])[None].astype(np.int8)
            found = {1: np.argwhere(segmentation == 1)} | {
                int(n): np.argwhere(segmentation == n) for n in np.unique(labels) if n > 1
            }
            whole = dict.fromkeys(("blocks", "chunks", "blocks_seg", "chunks_seg"), (1, *segmentation.shape[1:]))
            nnUNetDatasetBlosc2.save_case(data, segmentation, {"class_locations": found}, str(tmp_path / identifier), **whole)
        return nnUNetDatasetBlosc2(str(tmp_path), sorted(cases))

    return store
