"""One scan file -> the image, label and thumbnail files of its views, staged under working names."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from dataset_conversion.archive.study_files import Annotation
from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.network_input import network_input, write_image
from dataset_conversion.pseudonym import digest
from dataset_conversion.quality import Flag, thumbnail, view_flags, view_statistics
from dataset_conversion.raters import PairAgreement
from dataset_conversion.scans import read_scan
from dataset_conversion.scintigram import Scintigram
from dataset_conversion.staging.labelling import LabelledView, Problems, assign, label_view
from dataset_conversion.staging.options import ScanOutcome, Staging
from dataset_conversion.staging.records import sha256_of
from dataset_conversion.staging.reused_scans import reuse_scan, scan_key
from dataset_conversion.staging.staged_view import StagedView
from dataset_conversion.thorax import ThoraxBox, crop, thorax_box

# Pixels that touch at a corner are one lesion, as in the evaluation's tables.
LESION_CONNECTIVITY = np.ones((3, 3), int)


def stage_scan(number: int, path: Path, annotations: Sequence[Annotation], *, how: Staging) -> ScanOutcome:
    """Read one file once and write its views into the staging folder under working names that begin with `number`.

    Never raises for bad input: damage ends up in `faults`, what makes the whole conversion unsafe in `stops`.
    """
    outcome = ScanOutcome(path)
    try:
        outcome.sha256 = sha256_of(path)
        outcome.key = scan_key(path, outcome.sha256, annotations, how)
        if reuse_scan(number, outcome, how):
            return outcome
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            views = read_scan(path, how.read)
        outcome.notes = [str(warning.message) for warning in caught]
    except SkippedFile as error:
        outcome.skipped = str(error).removeprefix(f"{path}: ")
        outcome.faults = [
            annotation.fault or f"{annotation.path}: holds outlines of {path.name}, which is not converted: {outcome.skipped}"
            for annotation in annotations
        ]
        return outcome
    except ConversionError as error:
        outcome.faults = [str(error)]
        return outcome
    except OSError as error:
        outcome.faults = [f"{path}: cannot be read ({error.strerror})."]
        return outcome
    _stage_views(number, views, annotations, outcome, how)
    return outcome


def _stage_views(
    number: int, views: Sequence[Scintigram], annotations: Sequence[Annotation], outcome: ScanOutcome, how: Staging
) -> None:
    problems = Problems(outcome.faults, outcome.stops)
    of_view = assign(views, annotations, problems)
    for view in views if not problems.stops else []:
        drawn = of_view.get(view.view, [])
        n_faults = len(problems.faults)
        labelled = label_view(view, drawn, how.label_rules, problems)
        if problems.stops:
            return
        if len(problems.faults) > n_faults:
            continue
        if labelled is None and how.unlabelled == "skip":
            outcome.unlabelled += 1
            if how.views == "single":
                continue
        if labelled is None and how.unlabelled == "negative":
            labelled = LabelledView(np.zeros(view.counts.shape, np.uint8))
        outcome.views.append(_stage(view, labelled, f"{number:06d}_{view.view}", outcome.sha256, how))


def _stage(view: Scintigram, labelled: LabelledView | None, name: str, sha256: str, how: Staging) -> StagedView:
    full_height, full_width = view.counts.shape
    box = ThoraxBox(0, 0, full_height, full_width, "")
    mask = labelled.mask if labelled is not None else None
    flags = view_flags(view, mask, labelled.grown if labelled is not None else 0)
    if how.crop == "thorax":
        box = thorax_box(view.counts, view.spacing_mm)
        flags += _crop_flags(box, mask)
    image = how.folder / f"{name}_image.{how.file_format}"
    label, lesions, area_px = None, 0, 0
    if mask is not None:
        label = how.folder / f"{name}_label.{how.file_format}"
        written = crop(mask, box)
        is_lesion = how.label_rules.labels.is_lesion(written)
        lesions, area_px = int(ndimage.label(is_lesion, LESION_CONNECTIVITY)[1]), int(is_lesion.sum())
        write_image(label, written, view.spacing_mm)
    write_image(image, network_input(crop(view.counts, box), how.channels), view.spacing_mm)
    picture = how.folder / f"{name}_thumbnail.webp"
    picture.write_bytes(thumbnail(view.counts, mask, view.spacing_mm))
    return StagedView(
        image=image,
        label=label,
        thumbnail=picture,
        source=view.source,
        source_sha256=sha256,
        patient=digest(view.patient, how.key),
        person=digest(view.person, how.key) if view.person else "",
        study=digest(view.study, how.key),
        instance=digest(view.instance, how.key),
        frame=view.frame,
        view=view.view,
        full_height=full_height,
        full_width=full_width,
        top=box.top,
        left=box.left,
        height=box.height,
        width=box.width,
        spacing_mm=view.spacing_mm,
        counts=int(view.counts.sum(dtype=np.int64)),
        lesions=lesions,
        lesion_area_mm2=area_px * view.spacing_mm[0] * view.spacing_mm[1],
        grown=labelled.grown if labelled is not None else 0,
        agreements=tuple(_nameless(pair, how.key) for pair in labelled.agreements) if labelled is not None else (),
        flags=tuple(flags),
        statistics=view_statistics(view),
    )


def _nameless(pair: PairAgreement, key: bytes) -> PairAgreement:
    """Raters as keyed digests: names of files and folders may hold a patient's name beside a physician's."""
    return replace(pair, rater_a=digest(pair.rater_a, key), rater_b=digest(pair.rater_b, key))


def _crop_flags(box: ThoraxBox, mask: np.ndarray | None) -> list[Flag]:
    flags = [Flag("crop", "warning", f"The thorax is in doubt: {box.doubt}")] if box.doubt else []
    if mask is not None:
        left_out = int(np.count_nonzero(mask)) - int(np.count_nonzero(crop(mask, box)))
        if left_out:
            flags.append(Flag("cropped-lesion", "note", f"{left_out} px of outlined lesions lie outside the thorax."))
    return flags
