"""What is written of a scan: masks, probabilities, DICOM SEG, LabelMe, lesions; the folder as a whole, by a worker process."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from dataset_conversion.annotations import labelme
from dataset_conversion.annotations.dicom_seg_writer import write_seg
from dataset_conversion.annotations.outline import AnnotatedView
from dataset_conversion.annotations.tracing import trace
from dataset_conversion.arrays import VIEW_ENDINGS
from dataset_conversion.errors import ConversionError
from dataset_conversion.exchange import exchange
from dataset_conversion.labels import BACKGROUND, IGNORE
from dataset_conversion.network_input import write_image
from dataset_conversion.opposite_view import opposite_channel
from dataset_conversion.quality import Flag, pair_flags, view_flags, view_statistics, worst_first
from dataset_conversion.quality.thumbnail import GAMMA, WINDOW_PERCENTILE
from dataset_conversion.scans import is_array, scan_stem
from dataset_conversion.scintigram import Scintigram
from evaluation.finding_burden import STUDY, burden_table
from evaluation.finding_view import FindingView
from evaluation.findings import findings, findings_json
from msa_trainer.prediction.case import NetworkCase, whole_mask, whole_probabilities
from msa_trainer.prediction.completeness import write_marker
from msa_trainer.prediction.run_manifest import UNNAMED_NOTE
from msa_trainer.prediction.studies import CONVERTED

SERIES_DESCRIPTION = "msa-trainer lesions, research use only"
# What conversion says of outlines in a dataset, said of a prediction.
SENTENCES = {
    "upside-down": "The head seems to be at the bottom; the model was trained on views that begin with the head.",
    "lesion-outside": "Most of a marked lesion lies outside of the body: contamination, a marker or a false finding?",
}


@dataclass(frozen=True)
class OutputOptions:
    """What to write beside mask and lesions; key: of the UIDs that an anonymised SEG gets."""

    dicom_seg: bool = True
    labelme: bool = False
    probabilities: bool = False
    anonymise: bool = False
    key: bytes = b""


@dataclass(frozen=True)
class PredictedView:
    """A view with the network's answer in its box: mask (h, w) of class numbers, probabilities (classes, h, w)."""

    case: NetworkCase
    mask: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Whole:
    """A view with its mask (H, W) uint8 and probabilities (classes, H, W) float32 of the whole frame, and its file name."""

    view: Scintigram
    mask: np.ndarray
    probabilities: np.ndarray
    name: str


def write_scan(
    place: Path,
    predicted: Sequence[PredictedView],
    labels: Mapping[str, int],
    options: OutputOptions,
    context: Mapping[str, Any],
) -> tuple[dict[str, Any], list[str]]:
    """Write the folder `place` of one scan and return its marker, and sentences on what could not be written.

    predicted: one or two views, a side each. labels: the model's, as in nnU-Net's dataset.json. context: what the marker says
    beside views, flags and files: fingerprint, patient, scans, faults, notes (of the readers, without names), and more.
    Everything is written beside, under a hidden name, and swapped in when it is whole. Raises OSError and ConversionError where
    that fails; `place` is then what it was.
    """
    # A name of this process's own: a killed run's workers may still be writing into theirs.
    partial = place.with_name(f".{place.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        whole = [_whole(one, place.name) for one in predicted]
        for one in whole:
            write_image(partial / f"{one.name}.nii.gz", one.mask, one.view.spacing_mm)
            if options.probabilities:
                # As `nnUNetv2_predict --save_probabilities` stores them: (classes, 1, H, W) of a 2-D image.
                np.savez_compressed(partial / f"{one.name}.npz", probabilities=one.probabilities[:, None])
            if options.labelme:
                (partial / "labelme").mkdir(exist_ok=True)
                _write_labelme(partial / "labelme", one, labels, options)
        lesions, burdens, unmatched = write_findings(partial, predicted, whole, labels)
        remarks = [Flag("reader", "note" if note == UNNAMED_NOTE else "warning", note) for note in context["notes"]]
        pseudonym = (context["patient"] or place.name) if options.anonymise else None
        faults = _write_segs(partial, whole, labels, options.key, place.name, pseudonym) if options.dicom_seg else []
        flags = [{"view": view, **asdict(flag)} for view, flag in scan_flags(predicted, whole, [*remarks, *unmatched])]
        views = [_described(one, each.case, lesions) for one, each in zip(whole, predicted, strict=True)]
        nameless = ["No DICOM SEG could be written; the terminal named the reason."] if faults else []
        distinct = int(burdens.loc[burdens["view"] == STUDY, "lesions"].sum())
        content = {**context, "faults": [*context["faults"], *nameless], "lesions": distinct, "views": views, "flags": flags}
        marker = write_marker(partial, content)
        exchange(partial, place)
        return marker, faults
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def scan_flags(predicted: Sequence[PredictedView], whole: Sequence[Whole], of_scan: Sequence[Flag]) -> list[tuple[str, Flag]]:
    """All flags of a scan, each with its view ("" for `of_scan` and swapped views), worst first."""
    found = [("", flag) for flag in of_scan]
    for each, one in zip(predicted, whole, strict=True):
        flags = [*view_flags(one.view, one.mask, 0), *each.case.flags]
        found += [(one.view.view, replace(flag, sentence=SENTENCES.get(flag.code, flag.sentence))) for flag in flags]
    if len(whole) == 2:
        found += [("", flag) for flag in pair_flags(*(view_statistics(one.view) for one in whole))]
    order = {flag: place for place, flag in enumerate(worst_first(flag for _, flag in found))}
    return sorted(found, key=lambda pair: (order[pair[1]], pair[0]))


def write_findings(
    folder: Path, predicted: Sequence[PredictedView], whole: Sequence[Whole], labels: Mapping[str, int]
) -> tuple[pd.DataFrame, pd.DataFrame, list[Flag]]:
    """Write lesions.csv and findings.json; returns the lesions, the burden, and a note where the views cannot be matched.

    Lesions of opposite views are matched in the frame into which the second view is mirrored and moved for a paired model.
    """
    views = [
        FindingView(
            one.view.view, one.mask, one.probabilities[1:].sum(axis=0), one.view.counts, one.view.spacing_mm,
            (each.case.box.top, each.case.box.left, each.case.box.height, each.case.box.width),
        )
        for each, one in zip(predicted, whole, strict=True)
    ]  # fmt: skip
    notes: list[Flag] = []
    if len(views) == 2:
        _, shift, doubt = opposite_channel(whole[0].view.counts, whole[1].view.counts)
        if doubt:
            notes = [Flag("unmatched", "note", f"The lesions of the two views are not matched to each other: {doubt}.")]
    if len(views) == 2 and not notes:
        lesions = findings(views, labels=labels, shift_px=shift)
    else:
        lesions = pd.concat([findings([view], labels=labels) for view in views], ignore_index=True)
    burdens = burden_table(views, lesions, labels=labels)
    lesions.to_csv(folder / "lesions.csv", index=False)
    content = json.dumps(findings_json(views, lesions, burdens), indent=2, allow_nan=False)
    (folder / "findings.json").write_text(content + "\n", encoding="utf-8")
    return lesions, burdens, notes


def _whole(one: PredictedView, scan: str) -> Whole:
    case = one.case
    side = "ant" if case.view.view == "anterior" else "post"
    return Whole(
        case.view, whole_mask(one.mask, case), whole_probabilities(one.probabilities, case), case.case or f"{scan}_{side}"
    )


def _described(one: Whole, case: NetworkCase, lesions: pd.DataFrame) -> dict[str, Any]:
    """What the report and the next run want to know of a view without reading its files."""
    mine = lesions[lesions["view"] == one.view.view]
    return {
        "view": one.view.view,
        "name": one.name,
        "source": case.sha256,
        "frame": one.view.frame,
        "height": one.mask.shape[0],
        "width": one.mask.shape[1],
        "spacing_mm": list(one.view.spacing_mm),
        "crop": [case.box.top, case.box.left, case.box.height, case.box.width],
        "counts": int(one.view.counts.sum(dtype=np.int64)),
        "lesions": len(mine),
        "area_mm2": round(float(mine["area_mm2"].sum()), 4),
    }


def _write_labelme(folder: Path, one: Whole, labels: Mapping[str, int], options: OutputOptions) -> None:
    """Outlines that `msa convert` finds when they are put beside the scan: they are named after it, but for `--anonymise`."""
    source = one.view.source
    is_nameable = not options.anonymise and CONVERTED.fullmatch(source.name) is None
    stem = _outline_name(source, one.view.view) if is_nameable else one.name
    classes = [(name, value) for name, value in labels.items() if name not in (BACKGROUND, IGNORE)]
    outlines = [outline for name, value in classes for outline in trace(one.mask == value, name)]
    picture = source.name if is_nameable and is_array(source) else f"{stem}.png"
    labelme.write(folder / f"{stem}.json", AnnotatedView(tuple(outlines), *one.mask.shape), picture)
    if not is_array(source):
        _picture(one.view.counts).save(folder / picture)


def _outline_name(source: Path, view: str) -> str:
    stem = scan_stem(source)
    return stem if is_array(source) and stem.lower().endswith(tuple(VIEW_ENDINGS)) else f"{stem}_{view}"


def _picture(counts: np.ndarray) -> Image.Image:
    """8 bits to draw on, dark where there are more counts, windowed as the thumbnails are."""
    highest = float(np.percentile(counts[counts > 0], WINDOW_PERCENTILE))
    grey = 255 - 255 * np.clip(counts / highest, 0, 1) ** GAMMA
    return Image.fromarray(grey.astype(np.uint8))


def _write_segs(
    folder: Path, whole: Sequence[Whole], labels: Mapping[str, int], key: bytes, scan: str, pseudonym: str | None
) -> list[str]:
    """One SEG a DICOM file, which refers to its frames; returns sentences on files that no SEG could be made for."""
    by_source: dict[Path, list[Whole]] = {}
    for one in whole:
        if not is_array(one.view.source):
            by_source.setdefault(one.view.source, []).append(one)
    faults = []
    for source, views in by_source.items():
        name = scan if len(by_source) == 1 else views[0].name
        try:
            write_seg(
                folder / f"{name}_seg.dcm",
                source,
                {one.view.frame: one.mask for one in views},
                labels=labels,
                series_description=SERIES_DESCRIPTION,
                anonymise_as=pseudonym,
                key=key,
            )
        except ConversionError as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from error
            faults.append(str(error))
    return faults
