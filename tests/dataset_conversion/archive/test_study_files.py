from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from dataset_conversion.archive.study_files import survey

WriteOutlines = Callable[..., Path]


def _touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize("scan", ["scan.dcm", "scan.IMA", "scan"])
@pytest.mark.parametrize(("outlines", "view"), [("scan_anterior", "anterior"), ("scan_posterior", "posterior"), ("scan", None)])
def test_outlines_belong_to_the_scan_they_are_named_after(
    tmp_path: Path, write_outlines: WriteOutlines, scan: str, outlines: str, view: str | None
) -> None:
    path = _touch(tmp_path / "a" / scan)
    (tmp_path / "b").mkdir()
    write_outlines(tmp_path / "b" / f"{outlines}.json")
    found = survey(tmp_path)
    assert [annotation.view for annotation in found.scans[path]] == [view]
    assert (found.stops, found.faults, found.skipped) == ([], [], {})


def test_names_with_dots_and_views_in_them_are_whole(tmp_path: Path, write_outlines: WriteOutlines) -> None:
    dotted, viewed = _touch(tmp_path / "1.2.840.113"), _touch(tmp_path / "wb_anterior.dcm")
    write_outlines(tmp_path / "1.2.840.113_posterior.json")
    write_outlines(tmp_path / "wb_anterior.json")
    found = survey(tmp_path)
    assert [annotation.view for annotation in found.scans[dotted]] == ["posterior"]
    assert [annotation.view for annotation in found.scans[viewed]] == [None]


def test_of_scans_with_one_name_the_one_beside_the_outlines_is_meant(tmp_path: Path, write_outlines: WriteOutlines) -> None:
    one, two = _touch(tmp_path / "p1" / "IM1.dcm"), _touch(tmp_path / "p2" / "IM1.dcm")
    write_outlines(two.with_name("IM1_anterior.json"))
    found = survey(tmp_path)
    assert (len(found.scans[one]), len(found.scans[two]), found.stops) == (0, 1, [])
    write_outlines(tmp_path / "IM1_anterior.json")
    assert "could belong to 2 scans" in survey(tmp_path).stops[0]


def test_outlines_without_a_scan_stop_the_run(tmp_path: Path, write_outlines: WriteOutlines) -> None:
    _touch(tmp_path / "bone.dcm")
    write_outlines(tmp_path / "scam_anterior.json")
    (stop,) = survey(tmp_path).stops
    assert "scam_anterior.json" in stop
    assert "holds outlines but there is no scan scam.dcm nor scan.dcm" in stop


def test_damaged_outlines_are_told_apart_from_files_of_other_programs(tmp_path: Path) -> None:
    scan = _touch(tmp_path / "scan.dcm")
    for name in ("scan_anterior.json", "lost_anterior.json", "settings.json"):
        (tmp_path / name).write_text("{")
    found = survey(tmp_path)
    assert "not valid JSON" in found.scans[scan][0].fault
    assert [fault.split(":")[0] for fault in found.faults] == [str(tmp_path / "lost_anterior.json")]
    assert list(found.skipped) == [tmp_path / "settings.json"]


def test_hidden_and_excluded_files_are_not_looked_at(tmp_path: Path, write_outlines: WriteOutlines) -> None:
    scan = _touch(tmp_path / "scan.dcm")
    _touch(tmp_path / ".cache" / "x.dcm")
    _touch(tmp_path / "raw" / "Dataset001_A" / "x.dcm")
    write_outlines(tmp_path / ".orphan_anterior.json")
    found = survey(tmp_path, exclude=[tmp_path / "raw"])
    assert list(found.scans) == [scan]
    assert found.stops == []


def _header(path: Path, **attributes: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = pydicom.Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=False)
    return path


def test_outlines_named_by_the_instance_uid_belong_to_it_under_any_file_name(
    tmp_path: Path, write_outlines: WriteOutlines
) -> None:
    scan = _header(tmp_path / "a" / "IM0001.dcm", Modality="NM", SOPInstanceUID="1.2.3.4")
    _header(tmp_path / "b" / "IM0001.dcm", Modality="NM", SOPInstanceUID="1.2.3.5")
    write_outlines(tmp_path / "1.2.3.4_posterior.json")
    found = survey(tmp_path)
    assert [annotation.view for annotation in found.scans[scan]] == ["posterior"]
    assert found.stops == []


def test_an_rtstruct_stops_the_run_with_the_reason(tmp_path: Path) -> None:
    _header(tmp_path / "contours.dcm", Modality="RTSTRUCT", SOPInstanceUID="1.2.3")
    found = survey(tmp_path)
    assert found.scans == {}
    assert "contours.dcm: is an RTSTRUCT" in found.stops[0]


@pytest.mark.parametrize("mask", ["scan_anterior_mask.png", "scan_ant_seg.nii.gz", "scan_anterior_LABEL.tif"])
def test_mask_images_are_outlines_of_the_scan_they_are_named_after(tmp_path: Path, mask: str) -> None:
    scan = _touch(tmp_path / "scan.dcm")
    _touch(tmp_path / mask)
    found = survey(tmp_path)
    (annotation,) = found.scans[scan]
    assert (annotation.view, annotation.content, annotation.fault) == ("anterior", None, "")


def test_raters_are_folders_without_scans_or_the_last_part_of_a_name(tmp_path: Path, write_outlines: WriteOutlines) -> None:
    scan = _touch(tmp_path / "scans" / "p1" / "scan.dcm")
    for folder in ("weber/batch1", "lang", "scans/p1"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        write_outlines(tmp_path / folder / "scan_anterior.json")
    write_outlines(tmp_path / "scans" / "p1" / "scan_anterior.roth.json")
    assert sorted(annotation.rater for annotation in survey(tmp_path).scans[scan]) == ["", "lang", "roth", "weber"]


def test_a_picture_of_a_dicom_scan_is_skipped_and_one_without_is_a_scan(tmp_path: Path) -> None:
    scan, alone = _touch(tmp_path / "scan.dcm"), _touch(tmp_path / "other_anterior.png")
    exported = _touch(tmp_path / "pngs" / "scan_anterior.png")
    _touch(tmp_path / "other_anterior.scan.json")
    found = survey(tmp_path)
    assert sorted(found.scans) == sorted([scan, alone])
    assert list(found.skipped) == [exported]
