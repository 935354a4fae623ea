"""Which files make a study, and that its name says nothing of the patient."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_conversion.convert import ConversionOptions
from dataset_conversion.convert import run as convert
from msa_trainer.prediction.errors import PredictionError
from msa_trainer.prediction.studies import find_studies

KEY = bytes(range(32))


def test_views_in_files_of_their_own_are_one_study_and_two_visits_are_two(
    tmp_path: Path, write_scan: Callable[..., Path]
) -> None:
    for visit in ("1", "2"):
        for view in ("anterior", "posterior"):
            write_scan(tmp_path / f"{visit}_{view}", visit=visit, views=(view,))
    studies = find_studies([tmp_path], [], KEY).studies
    assert [len(study.files) for study in studies] == [2, 2]
    assert len({study.name for study in studies}) == 2
    assert len({study.patient for study in studies}) == 1
    assert studies[1].ordinal is not None
    assert studies[0].ordinal is not None
    assert studies[1].ordinal - studies[0].ordinal == 1


def test_names_are_keyed_say_nothing_of_the_patient_and_do_not_depend_on_where_the_files_lie(
    scans: Path, tmp_path: Path
) -> None:
    names = [study.name for study in find_studies([scans], [], KEY).studies]
    assert all(re.fullmatch(r"P[0-9a-f]{6}_[0-9a-f]{8}", name) for name in names)
    moved = tmp_path / "moved"
    shutil.move(scans, moved)
    assert [study.name for study in find_studies([moved], [], KEY).studies] == names
    assert not {study.name for study in find_studies([moved], [], b"another key" * 4).studies} & set(names)


def test_a_patient_has_the_pseudonym_that_conversion_gives_with_the_same_key(scans: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(KEY.hex())
    assert convert(ConversionOptions(scans, 7, "Bone", tmp_path / "raw", unlabelled="test", key=key)) == 0
    images = tmp_path / "raw" / "Dataset007_Bone" / "imagesTs"
    converted = {path.name.split("_")[0] for path in images.iterdir()}
    assert {study.patient for study in find_studies([scans], [], KEY).studies} == converted
    again = find_studies([images], [], KEY).studies
    assert {study.name for study in again} == {path.name[:10] for path in images.iterdir()}
    assert [sorted(file.case[-4:] for file in study.files) for study in again] == [["_ant", "post"]] * 4


def test_a_patient_whose_identifier_looks_like_our_pseudonym_gets_one_all_the_same(
    tmp_path: Path, write_scan: Callable[..., Path]
) -> None:
    write_scan(tmp_path / "a.dcm", patient="Pabcdef")
    (study,) = find_studies([tmp_path], [], KEY).studies
    assert "abcdef" not in study.name + study.patient


def test_other_modalities_copies_and_outlines_are_no_studies(scans: Path, write_scan: Callable[..., Path]) -> None:
    def to_ct(dataset: Any) -> None:
        dataset.Modality = "CT"

    write_scan(scans / "ct.dcm", patient="CT", edit=to_ct)
    shutil.copy(scans / "Meier1_1.dcm", scans / "Copy.dcm")
    (scans / "notes.txt").write_text("nothing")
    (scans / "Meier1_1_anterior.json").write_text('{"shapes": [], "imageHeight": 96, "imageWidth": 48, "imagePath": "x"}')
    found = find_studies([scans], [], KEY)
    assert len(found.studies) == 4
    assert {path.name: reason for path, reason in found.skipped.items()} == {
        "ct.dcm": "its modality is CT, expected NM.",
        "Meier1_1.dcm": "is a copy of another file.",
        "notes.txt": "is not a DICOM file.",
    }


def test_arrays_are_grouped_by_their_side_cars_and_names(tmp_path: Path) -> None:
    for name in ("17_anterior", "17_posterior", "18_ant"):
        np.save(tmp_path / f"{name}.npy", np.arange(6).reshape(2, 3))
    (tmp_path / "18_ant.scan.json").write_text('{"patient": "17", "study": "2"}')
    studies = find_studies([tmp_path], [], KEY).studies
    assert [[file.path.name for file in study.files] for study in studies] == [
        ["17_anterior.npy", "17_posterior.npy"],
        ["18_ant.npy"],
    ]
    assert len({study.patient for study in studies}) == 1


def test_damaged_files_are_studies_of_their_own(tmp_path: Path, write_scan: Callable[..., Path]) -> None:
    whole = write_scan(tmp_path / "whole.dcm").read_bytes()
    (tmp_path / "head.dcm").write_bytes(whole[:200])
    (tmp_path / "no.dcm").write_bytes(b"no DICOM at all")
    studies = find_studies([tmp_path], [], KEY).studies
    assert sorted(study.name.startswith("file_") for study in studies) == [False, True, True]


def test_files_may_be_named_one_by_one_and_what_is_missing_is_refused(scans: Path) -> None:
    files = sorted(scans.glob("*.dcm"))
    assert len(find_studies(files[:2], [], KEY).studies) == 2
    with pytest.raises(PredictionError, match="gone: is neither a file nor a folder"):
        find_studies([scans / "gone"], [], KEY)


def test_the_output_folder_is_not_searched(scans: Path, write_scan: Callable[..., Path]) -> None:
    write_scan(scans / "out" / "seg.dcm", patient="other")
    assert len(find_studies([scans], [scans / "out"], KEY).studies) == 4
