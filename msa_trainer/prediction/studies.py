"""Which files under the input are scans, which belong to one study, and the names of studies: without a trace of identity."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from dataset_conversion.archive.study_files import survey
from dataset_conversion.arrays import VIEW_ENDINGS, array_suffix
from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.pseudonym import digest, pseudonyms
from dataset_conversion.readers.dicom_file import open_dicom, quiet
from dataset_conversion.readers.side_car import SIDE_CAR_SUFFIX, read_side_car
from dataset_conversion.scans import is_array
from dataset_conversion.scintigram import View
from dataset_conversion.staging.records import sha256_of
from msa_trainer.prediction.errors import PredictionError

# CASE_0000.nii.gz, CASE_0001.nii.gz: a channel each, as nnU-Net names the images it predicts.
CONVERTED = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})(?:\.nii\.gz|\.png)", re.IGNORECASE)
# A study's name by `msa convert`, which is a pseudonym already.
OWN_NAME = re.compile(r"(?P<patient>P[0-9a-f]{6,8})_\d{2,}")
# What tells studies apart; nothing of it is kept but keyed digests and days between studies.
HEADER = ("StudyDate", "Modality", "PatientName", "PatientID", "StudyInstanceUID")
# 32 bits: with the 24 of the patient before them, no two studies of an archive share a name.
STUDY_DIGITS = 8


@dataclass(frozen=True)
class SourceFile:
    """A file of a study; case and channel: of an image that was converted for nnU-Net, "" and 0 otherwise."""

    path: Path
    sha256: str
    case: str = ""
    channel: int = 0


@dataclass(frozen=True)
class Study:
    """What was acquired of one patient at one visit.

    name: P1a2b3c_5d6e7f80, made of keyed digests of patient and study, so it is the same in every run with the same key; the
    name that `msa convert` gave, where it converted the images. patient: pseudonym, "" where the file does not tell.
    ordinal: day of the study as `date.toordinal`, to put studies in order and never to be written; None where not stated.
    """

    name: str
    patient: str
    ordinal: int | None
    files: tuple[SourceFile, ...]


@dataclass
class FoundStudies:
    """The studies in the order of their files, the files that are none of ours with the reason, sentences on damage."""

    studies: list[Study] = field(default_factory=list)
    skipped: dict[Path, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Entry:
    """A file and what groups it; study "": it stands alone."""

    file: SourceFile
    patient: str
    study: str
    ordinal: int | None = None
    given: str = ""


def find_studies(inputs: Sequence[Path], exclude: Sequence[Path], key: bytes) -> FoundStudies:
    """Sort files, and everything under folders, into studies by patient and study as their headers or side-cars state them.

    Outlines beside the scans and what lies under `exclude` are left alone. key: of the names (`dataset_conversion.pseudonym`).
    Files that cannot be sorted, because they are damaged, are studies of their own: reading them says what is wrong. Second
    copies of a DICOM file are skipped. Raises PredictionError for an input that does not exist.
    """
    found = FoundStudies()
    entries: list[_Entry] = []
    copies: dict[str, Path] = {}
    for path in _scan_files(inputs, exclude, found):
        try:
            entry = _entry(path)
        except SkippedFile as error:
            found.skipped[path] = str(error).removeprefix(f"{path}: ")
            continue
        except OSError as error:
            found.faults.append(f"{path}: cannot be read ({error.strerror}).")
            continue
        first = copies.setdefault(entry.file.sha256, path)
        if first != path and not is_array(path):
            found.skipped[path] = "is a copy of another file."
        else:
            entries.append(entry)
    found.studies = _named(entries, key)
    return found


def view_of_case(case: str) -> tuple[str, View | None]:
    """The study and the view that the name of a converted image states: P1a2b3c_01_ant is the anterior view of P1a2b3c_01."""
    for ending, view in VIEW_ENDINGS.items():
        if case.lower().endswith(ending) and len(case) > len(ending):
            return case[: -len(ending)], view
    return case, None


def _scan_files(inputs: Sequence[Path], exclude: Sequence[Path], found: FoundStudies) -> list[Path]:
    paths: dict[Path, Path] = {}
    for given in inputs:
        if given.is_dir():
            under = survey(given, exclude)
            found.skipped.update(under.skipped)
            paths.update((path.resolve(), path) for path in under.scans)
        elif given.exists():
            paths[given.resolve()] = given
        else:
            raise PredictionError(f"{given}: is neither a file nor a folder; pass scans or the folder that holds them.")
    return list(paths.values())


def _entry(path: Path) -> _Entry:
    converted = CONVERTED.fullmatch(path.name)
    if converted:
        case = converted["case"]
        study, _ = view_of_case(case)
        file = SourceFile(path, sha256_of(path), case, int(converted["channel"]))
        own = OWN_NAME.fullmatch(study)
        return _Entry(file, own["patient"] if own else study, study, given=study if own else "")
    if is_array(path):
        return _array_entry(path)
    try:
        header = open_dicom(path, HEADER)
        with quiet():
            values = {name: str(header.get(name) or "").strip(" \0") for name in HEADER}
    except SkippedFile:
        raise
    except Exception:  # whatever is wrong with it, reading the whole file will say
        return _alone(path)
    if values["Modality"] not in ("", "NM"):
        raise SkippedFile(f"its modality is {values['Modality']}, expected NM.")
    patient = values["PatientID"] or values["PatientName"]
    if not patient:
        return _alone(path)
    file = SourceFile(path, sha256_of(path))
    return _Entry(file, patient, values["StudyInstanceUID"] or str(path), _ordinal(values["StudyDate"]))


def _array_entry(path: Path) -> _Entry:
    """Patient and study as `arrays.read_array` finds them."""
    stem = path.name.removesuffix(array_suffix(path))
    base, _ = view_of_case(stem)
    try:
        stated = read_side_car(path.with_name(stem + SIDE_CAR_SUFFIX))
    except ConversionError:
        return _alone(path)
    return _Entry(SourceFile(path, sha256_of(path)), stated.patient or base, stated.study or base)


def _alone(path: Path) -> _Entry:
    return _Entry(SourceFile(path, sha256_of(path)), "", "")


def _ordinal(text: str) -> int | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])).toordinal()
    except ValueError:
        return None


def _named(entries: Sequence[_Entry], key: bytes) -> list[Study]:
    groups: dict[tuple[str, str, str], list[_Entry]] = defaultdict(list)
    for entry in entries:
        groups[(entry.given, entry.patient, entry.study or entry.file.sha256)].append(entry)
    digests = {patient: digest(patient, key) for given, patient, _ in groups if patient and not given}
    names = pseudonyms(digests.values())
    studies = []
    for (given, patient, study), members in groups.items():
        pseudonym = patient if given or not patient else names[digests[patient]]
        unlike = digest(f"{patient}/{study}", key)[:STUDY_DIGITS]
        name = given or (f"{pseudonym}_{unlike}" if pseudonym else f"file_{unlike}")
        studies.append(Study(name, pseudonym, members[0].ordinal, tuple(entry.file for entry in members)))
    return studies
