"""One scan file -> the image and label files of its views, staged under working names."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from scipy import ndimage

from dataset_conversion.annotations.outline import AnnotatedView
from dataset_conversion.dicom_nm import read_views
from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.nnunet_raw import FILE_ENDING, Channels, network_input, write_image
from dataset_conversion.rasterise import PixelRule, rasterise
from dataset_conversion.scintigram import Scintigram, View
from dataset_conversion.study_files import Annotation

Unlabelled = Literal["skip", "test", "negative"]
UNLABELLED: tuple[Unlabelled, ...] = get_args(Unlabelled)
# Pixels that touch at a corner are one lesion, as in the evaluation's tables.
LESION_CONNECTIVITY = np.ones((3, 3), int)


@dataclass(frozen=True)
class StagedView:
    """A view whose image, and label where it has one, are written; the pixels are gone, these figures remain.

    lesions: 8-connected components of the mask. grown: outlines that held no pixel centre and became one pixel.
    """

    image: Path
    label: Path | None
    patient: str
    study: str
    instance: str
    frame: int
    view: View
    height: int
    width: int
    spacing_mm: tuple[float, float]
    counts: int
    lesions: int
    lesion_area_mm2: float
    grown: int
    source: Path
    source_sha256: str


@dataclass
class ScanOutcome:
    """What became of one file: staged views, or why it was skipped; every other entry is a sentence for the user."""

    source: Path
    sha256: str = ""
    views: list[StagedView] = field(default_factory=list)
    unlabelled: int = 0
    skipped: str | None = None
    faults: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def stage_scan(
    number: int,
    path: Path,
    annotations: Sequence[Annotation],
    *,
    staging: Path,
    channels: Channels,
    rule: PixelRule,
    unlabelled: Unlabelled,
) -> ScanOutcome:
    """Read one file once and write its views into `staging` under working names that begin with `number`.

    Never raises for bad input: damage ends up in `faults`, what makes the whole conversion unsafe in `stops`.
    """
    outcome = ScanOutcome(path)
    try:
        outcome.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            views = read_views(path)
        outcome.notes = [str(warning.message) for warning in caught]
    except SkippedFile as error:
        outcome.skipped = str(error).removeprefix(f"{path}: ")
        outcome.stops = [
            f"{annotation.path}: holds outlines of {path.name}, which is not converted: {outcome.skipped}"
            for annotation in annotations
            if annotation.content is not None
        ]
        outcome.faults = [a.fault for a in annotations if a.content is None]
        return outcome
    except ConversionError as error:
        outcome.faults = [str(error)]
        return outcome
    except OSError as error:
        outcome.faults = [f"{path}: cannot be read ({error.strerror})."]
        return outcome
    of_view = _assign(views, annotations, outcome)
    for view in views if not outcome.stops else []:
        annotation = of_view.get(view.view)
        if annotation is not None and annotation.content is None:
            outcome.faults.append(annotation.fault)
        elif annotation is None and unlabelled == "skip":
            outcome.unlabelled += 1
        else:
            content = AnnotatedView((), *view.counts.shape) if unlabelled == "negative" else None
            content = content if annotation is None else annotation.content
            try:
                outcome.views.append(
                    _stage(view, content, staging / f"{number:06d}_{view.view}", channels, rule, outcome.sha256)
                )
            except ConversionError as error:  # an outline outside its image
                where = annotation.path if annotation is not None else path
                outcome.faults.append(f"{where}: {error}")
    return outcome


def _assign(views: Sequence[Scintigram], annotations: Sequence[Annotation], outcome: ScanOutcome) -> dict[View, Annotation]:
    """Give each view its annotation; what does not fit goes to the outcome's stops."""
    present = {view.view: view for view in views}
    of_view: dict[View, Annotation] = {}
    for annotation in annotations:
        view = annotation.view or (views[0].view if len(views) == 1 else None)
        if view is None:
            outcome.stops.append(
                f"{annotation.path}: {outcome.source.name} has {len(views)} views; name the outlines STEM_anterior.json or"
                " STEM_posterior.json."
            )
        elif view not in present:
            outcome.stops.append(
                f"{annotation.path}: {outcome.source.name} has no {view} view; it shows {' and '.join(present)}."
            )
        elif view in of_view:
            outcome.stops.append(f"{annotation.path}: the {view} view already has {of_view[view].path.name}; keep one of them.")
        else:
            of_view[view] = annotation
            content, (height, width) = annotation.content, present[view].counts.shape
            if content is not None and (content.height, content.width) != (height, width):
                outcome.stops.append(
                    f"{annotation.path}: was drawn on an image of {content.height} x {content.width} px, the {view} view of"
                    f" {outcome.source.name} has {height} x {width}; draw it on the scan itself."
                )
    return of_view


def _stage(
    view: Scintigram, content: AnnotatedView | None, stem: Path, channels: Channels, rule: PixelRule, sha256: str
) -> StagedView:
    shape: tuple[int, int] = (view.counts.shape[0], view.counts.shape[1])
    image, label = stem.with_name(f"{stem.name}_image{FILE_ENDING}"), None
    lesions, area_px, grown = 0, 0, 0
    if content is not None:
        mask, grown = rasterise(content.outlines, shape, rule)
        lesions, area_px = int(ndimage.label(mask, LESION_CONNECTIVITY)[1]), int(mask.sum())
        label = stem.with_name(f"{stem.name}_label{FILE_ENDING}")
        write_image(label, mask, view.spacing_mm)
    write_image(image, network_input(view.counts, channels), view.spacing_mm)
    return StagedView(
        image=image,
        label=label,
        patient=view.patient,
        study=view.study,
        instance=view.instance,
        frame=view.frame,
        view=view.view,
        height=shape[0],
        width=shape[1],
        spacing_mm=view.spacing_mm,
        counts=int(view.counts.sum(dtype=np.int64)),
        lesions=lesions,
        lesion_area_mm2=area_px * view.spacing_mm[0] * view.spacing_mm[1],
        grown=grown,
        source=view.source,
        source_sha256=sha256,
    )
