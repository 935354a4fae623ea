"""Annotated phantom studies as real input would come: two-view DICOM NM and LabelMe outlines."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dataset_conversion.annotations import labelme
from dataset_conversion.annotations.outline import AnnotatedView, LesionOutline
from dataset_conversion.dicom_nm_writer import stable_uid, write_study
from dataset_conversion.errors import ConversionError
from dataset_conversion.phantom import camera
from dataset_conversion.phantom.anatomy import Body
from dataset_conversion.phantom.hot_spots import add_hot_spots
from dataset_conversion.phantom.lesions import add_to, draw_lesions, outline
from dataset_conversion.phantom.parameters import DEFAULT, PhantomParameters
from dataset_conversion.scintigram import VIEWS, Scintigram, View

SECOND_STUDY_EVERY = 7  # every seventh patient comes twice, so that grouping by patient is put to the test
PREFIX = "phantom_"


@dataclass(frozen=True)
class PhantomView:
    """One simulated view: Poisson counts (H, W), the expected counts behind them, and the reader's outlines."""

    view: View
    counts: np.ndarray
    mean: np.ndarray
    outlines: tuple[LesionOutline, ...]


def simulate(patient: int, seed: int = 0, visit: int = 0, parameters: PhantomParameters = DEFAULT) -> list[PhantomView]:
    """Simulate both views of one visit of one patient (numbered from 1); the same arguments give the same arrays."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, patient, visit]))
    body = Body(parameters, rng)
    add_hot_spots(body)
    lesions = draw_lesions(body, parameters)
    planes = [plane.activity for plane in body.planes]
    add_to(planes, lesions)
    views = []
    sensitivity: float | None = None
    for view in VIEWS:
        relative = camera.projection(planes, view, parameters)
        if sensitivity is None:  # one activity and one table speed for both views; the anterior one sets the total
            sensitivity = rng.uniform(*parameters.counts_per_view) / float(relative.sum())
        total = np.clip(float(relative.sum()) * sensitivity, *parameters.counts_per_view)
        counts_per_unit = total / float(relative.sum())
        mean = relative * np.float32(counts_per_unit)
        drawn = [outline(lesion, view, mean, counts_per_unit, parameters) for lesion in lesions]
        seen = camera.as_camera_sees(mean, view)
        counts = rng.poisson(seen).astype(np.uint16)
        views.append(PhantomView(view, counts, seen, tuple(o for o in drawn if o is not None)))
    return views


def write_phantom(output: Path, patients: int, seed: int = 0, parameters: PhantomParameters = DEFAULT) -> list[Path]:
    """Write `patients` phantom patients into a folder and return the DICOM files; the same seed gives the same bytes.

    A study is `phantom_0001.dcm` with both views and one LabelMe file a view. Raises ConversionError for a number under 1 and
    for a folder with files that are not a phantom's.
    """
    if patients < 1:
        raise ConversionError(f"{patients} patients were asked for; expected at least 1.")
    if seed < 0:
        raise ConversionError(f"the seed is {seed}; expected 0 or more.")
    if output.exists() and not output.is_dir():
        raise ConversionError(f"{output}: is a file; name a folder to write the studies into.")
    others = [path.name for path in output.glob("*") if not path.name.startswith(PREFIX)]
    if others:
        raise ConversionError(f"{output}: holds files that are not a phantom's ({sorted(others)[0]}); choose another folder.")
    output.mkdir(parents=True, exist_ok=True)
    visits = [
        (patient, visit) for patient in range(1, patients + 1) for visit in range(1 + (patient % SECOND_STUDY_EVERY == 0))
    ]
    progress = tqdm(visits, desc="phantom", unit="study", file=sys.stderr, disable=None)
    return [_write_visit(output, patient, visit, seed, parameters) for patient, visit in progress]


def _write_visit(output: Path, patient: int, visit: int, seed: int, parameters: PhantomParameters) -> Path:
    stem = f"{PREFIX}{patient:04d}{'b' if visit else ''}"
    path = output / f"{stem}.dcm"
    simulated = simulate(patient, seed, visit, parameters)
    height, width = parameters.shape
    for one in simulated:
        name = f"{stem}_{one.view}"
        _beside(output / f"{name}.json", AnnotatedView(one.outlines, height, width), f"{name}.png")
    identity = ("phantom", str(seed), str(patient), str(visit))
    scintigrams = [
        Scintigram(
            one.counts, (parameters.spacing_mm,) * 2, one.view, f"PHANTOM-{patient:04d}", stable_uid(*identity, "study"),
            stable_uid(*identity, "instance"), frame, path,
        )
        for frame, one in enumerate(simulated, 1)
    ]  # fmt: skip
    write_study(
        path,
        scintigrams,
        patient_name=f"Phantom^{patient:04d}",
        patient_sex="O",
        study_date=f"2020{1 + visit:02d}01",
        study_description="SIMULATED BONE SCAN, NO PATIENT",
    )
    return path


def _beside(path: Path, view: AnnotatedView, image_name: str) -> None:
    """Write beside and rename: a killed run leaves no half outline file."""
    partial = path.with_suffix(".json.part")
    labelme.write(partial, view, image_name)
    partial.replace(path)
