"""The files of one study -> its views, paired, as network cases; runs in a worker process."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from dataset_conversion.arrays import array_suffix
from dataset_conversion.dicom_nm import stable_uid
from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.network_input import Channels
from dataset_conversion.readers.array_files import load_array
from dataset_conversion.scans import ReadOptions, read_scan
from dataset_conversion.scintigram import Scintigram
from evaluation.counts import to_counts
from msa_trainer.prediction.case import InputRecipe, NetworkCase, network_case, spacing_flags, whole_box
from msa_trainer.prediction.errors import PredictionError
from msa_trainer.prediction.studies import OWN_NAME, SourceFile, Study, view_of_case


@dataclass
class ReadStudy:
    """What became of a study's files.

    scans: its views as network cases, those of one acquisition together: one or two, a side each. faults: sentences on what
    could not be used. skipped: files that are no planar scans. notes: warnings of the readers, sentences that name files.
    """

    scans: list[list[NetworkCase]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    skipped: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_study(study: Study, recipe: InputRecipe, options: ReadOptions) -> ReadStudy:
    """Read all files of a study; never raises for bad input: what is wrong with a file or a view stands in `faults`."""
    read = ReadStudy()
    converted: dict[str, list[SourceFile]] = defaultdict(list)
    views: list[Scintigram] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for file in study.files:
            if file.case:
                converted[file.case].append(file)
                continue
            try:
                views += read_scan(file.path, options)
            except SkippedFile as error:
                read.skipped[file.path] = str(error).removeprefix(f"{file.path}: ")
            except ConversionError as error:
                read.faults.append(str(error))
            except OSError as error:
                read.faults.append(f"{file.path}: cannot be read ({error.strerror}).")
    read.notes = [str(warning.message) for warning in caught]
    hashes = {file.path: file.sha256 for file in study.files}
    for scan in acquisitions(views):
        _add(read, [partial(network_case, view, _opposite(scan, view), recipe) for view in scan], hashes)
    if converted:
        _add(read, [partial(_converted_case, files, study.patient, recipe) for files in converted.values()], hashes)
    return read


def acquisitions(views: Sequence[Scintigram]) -> list[list[Scintigram]]:
    """Put the views of one study together by twos, in the order of the files: as conversion pairs them.

    A view joins the first acquisition that lacks its side and has its shape and pixel size; a frame that is there already, in
    another copy of the file, is dropped.
    """
    scans: list[list[Scintigram]] = []
    seen: set[tuple[str, int]] = set()
    for view in views:
        if (view.instance, view.frame) in seen:
            continue
        seen.add((view.instance, view.frame))
        same = (view.counts.shape, view.spacing_mm)
        fitting = (scan for scan in scans if [(one.counts.shape, one.spacing_mm) for one in scan] == [same])
        mine = next((scan for scan in fitting if scan[0].view != view.view), None)
        if mine is None:
            scans.append([view])
        else:
            mine.append(view)
            mine.sort(key=lambda one: one.view)  # anterior first
    return scans


def _opposite(scan: Sequence[Scintigram], view: Scintigram) -> Scintigram | None:
    return next((other for other in scan if other is not view), None)


def _add(read: ReadStudy, making: Sequence[Callable[[], NetworkCase]], hashes: Mapping[Path, str]) -> None:
    """Make the cases of one acquisition, or of several; those that cannot be made are faults."""
    cases: list[NetworkCase] = []
    for make in making:
        try:
            cases.append(make())
        except (PredictionError, ConversionError) as error:
            read.faults.append(str(error))
        except OSError as error:
            read.faults.append(f"{error.filename or 'input'}: cannot be read ({error.strerror}).")
    of_view = {id(case.view): replace(case, sha256=hashes[case.view.source]) for case in cases}
    read.scans += [[of_view[id(view)] for view in scan] for scan in acquisitions([case.view for case in cases])]


def _converted_case(files: Sequence[SourceFile], patient: str, recipe: InputRecipe) -> NetworkCase:
    """An image that `msa convert` wrote, a file a channel; its pixels are what the network sees, its counts are taken back."""
    files = sorted(files, key=lambda file: file.channel)
    first = files[0].path
    expected = 2 if recipe.views == "paired" else 1
    if [file.channel for file in files] != list(range(expected)):
        there = ", ".join(f"{file.channel:04d}" for file in files)
        raise PredictionError(f"{first}: its case has the channels {there}, the model expects {expected} from 0000 on.")
    study, view = view_of_case(files[0].case)
    if view is None:
        raise PredictionError(
            f"{first}: does not say which view it shows; end the name of its case in _ant or _post, as `msa convert` does."
        )
    _require_same_recipe(first, recipe)
    arrays = [load_array(file.path, array_suffix(file.path).lower()) for file in files]
    if len({array.pixels.shape for array in arrays}) != 1:
        raise PredictionError(f"{first}: its channels differ in size; convert the scan again.")
    # png has no place for the pixel size; the scan then had the size of the model's.
    spacing = arrays[0].spacing_mm or recipe.spacing_mm
    counts = to_counts(arrays[0].pixels, recipe.channels)
    if not np.isfinite(counts).all() or counts.min() < 0 or counts.min() == counts.max():
        raise PredictionError(f"{first}: holds no counts in the form of the channels {recipe.channels!r}; convert it again.")
    uid = stable_uid("converted", files[0].case)
    scintigram = Scintigram(counts.astype(np.uint32), spacing, view, patient, study, uid, 1, first)
    pixels = np.stack([array.pixels.astype(np.float32) for array in arrays])
    flags = tuple(spacing_flags(scintigram, recipe))
    name = files[0].case if OWN_NAME.fullmatch(study) else ""  # any other name may be a person's
    return NetworkCase(scintigram, pixels, whole_box(counts.shape), name, flags)


def _require_same_recipe(image: Path, recipe: InputRecipe) -> None:
    """Compare with dataset.json beside or above the image, where `msa convert` wrote one."""
    for path in (image.parent / "dataset.json", image.absolute().parent.parent / "dataset.json"):
        try:
            stated = json.loads(path.read_text(encoding="utf-8"))["msa"]
            differing = {name: stated[name] for name in ("crop", "views", "channels") if stated[name] != getattr(recipe, name)}
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if differing:
            name, value = next(iter(differing.items()))
            raise PredictionError(
                f"{image}: was converted with {name} {value!r}, the model was trained with {getattr(recipe, name)!r}; pass the"
                " DICOM scans, or convert them as the model's were."
            )
        return


def view_counts(file: SourceFile, frame: int, channels: Channels, options: ReadOptions) -> np.ndarray | None:
    """Read the counts (H, W) of one frame once more, for a picture; None where the file cannot be read any more."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said when the study was read
            if file.case:
                return to_counts(load_array(file.path, array_suffix(file.path).lower()).pixels, channels)
            return next((view.counts for view in read_scan(file.path, options) if view.frame == frame), None)
    except (ConversionError, OSError):
        return None
