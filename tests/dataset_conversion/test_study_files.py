from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_conversion.study_files import survey

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
    _touch(tmp_path / "scan.dcm")
    write_outlines(tmp_path / "scam_anterior.json")
    (stop,) = survey(tmp_path).stops
    assert "scam_anterior.json: holds outlines but there is no scan scam.dcm" in stop


def test_unknown_labels_stop_the_run_and_known_spellings_do_not(tmp_path: Path, write_outlines: WriteOutlines) -> None:
    _touch(tmp_path / "scan.dcm")
    for label in ("Metastasis", " metastases", "METASTATIC", "lesion"):
        write_outlines(tmp_path / "scan_anterior.json", (5, 5, 2), label=label)
        assert survey(tmp_path).stops == []
    write_outlines(tmp_path / "scan_anterior.json", (5, 5, 2), (9, 9, 2), label="fracture")
    stops = survey(tmp_path).stops
    assert len(stops) == 2
    assert "scan_anterior.json: shape 2 has the label 'fracture'" in stops[1]


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
