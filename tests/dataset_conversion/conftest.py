"""Small synthetic studies, written the way real input comes: two-view DICOM NM and LabelMe JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import settings

from dataset_conversion.annotations import labelme
from dataset_conversion.annotations.outline import AnnotatedView, LesionOutline
from dataset_conversion.convert import ConversionOptions
from dataset_conversion.dicom_nm import stable_uid, write_study
from dataset_conversion.scintigram import VIEWS, Scintigram, View

SHAPE = (48, 16)

# The time limit of an example says more about the machine than about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def _disc(x: float, y: float, radius: float) -> np.ndarray:
    angle = np.arange(24) * (2 * np.pi / 24)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


@pytest.fixture
def make_views() -> Callable[..., list[Scintigram]]:
    """Views of one visit with Poisson counts, told apart by the words they are made from."""

    def make(
        patient: str = "ZURICH-ID", visit: str = "1", views: Sequence[View] = VIEWS, level: float = 5.0
    ) -> list[Scintigram]:
        rng = np.random.default_rng(sum(map(ord, patient + visit)))
        study, instance = stable_uid(patient, visit), stable_uid(patient, visit, "instance", *views)
        return [
            Scintigram(rng.poisson(level, SHAPE).astype(np.uint16), (2.26, 2.5), v, patient, study, instance, n, Path())
            for n, v in enumerate(views, start=1)
        ]

    return make


@pytest.fixture
def write_dicom(make_views: Callable[..., list[Scintigram]]) -> Callable[..., Path]:
    """Write one DICOM study; `edit` may change the data set before it is saved."""

    def write(path: Path, edit: Callable[[Any], None] | None = None, **kwargs: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_study(
            path,
            make_views(**kwargs),
            patient_name="Invented^Person",
            patient_sex="F",
            study_date="20200102",
            study_description="Bone scan",
        )
        if edit is not None:
            dataset = pydicom.dcmread(path)
            edit(dataset)
            dataset.save_as(path)
        return path

    return write


@pytest.fixture
def write_outlines() -> Callable[..., Path]:
    """Write LabelMe outlines: discs (x, y, radius) in px."""

    def write(
        path: Path, *discs: tuple[float, float, float], label: str = "metastasis", shape: tuple[int, int] = SHAPE
    ) -> Path:
        outlines = tuple(LesionOutline(label, _disc(*disc)) for disc in discs)
        labelme.write(path, AnnotatedView(outlines, *shape), "scan.dcm")
        return path

    return write


@pytest.fixture
def study_folder(tmp_path: Path, write_dicom: Callable[..., Path], write_outlines: Callable[..., Path]) -> Path:
    """Six patients with two annotated views each; every third is free of lesions."""
    folder = tmp_path / "input"
    for number in range(6):
        scan = write_dicom(folder / f"p{number}" / f"scan{number}.dcm", patient=f"ZURICH-{number}")
        for view in VIEWS:
            discs = [(8.0, 20.0, 2.0 + number)] if number % 3 else []
            write_outlines(scan.with_name(f"scan{number}_{view}.json"), *discs)
    return folder


@pytest.fixture
def options(study_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConversionOptions:
    """A conversion of the study folder into three folds, by one process."""
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    return ConversionOptions(study_folder, 7, "Bone", tmp_path / "raw", folds=3, jobs=1)
