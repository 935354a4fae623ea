from __future__ import annotations

import csv
import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from dataset_conversion.convert import ConversionOptions, run
from dataset_conversion.dicom_nm import read_views

WriteDicom = Callable[..., Path]
WriteOutlines = Callable[..., Path]


def _folder(options: ConversionOptions) -> Path:
    assert options.raw is not None
    return options.raw / "Dataset007_Bone"


def _rows(options: ConversionOptions) -> list[dict[str, str]]:
    with (_folder(options) / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _pixels(path: Path) -> np.ndarray:
    pixels: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return pixels


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _by_source(options: ConversionOptions, source: Path) -> list[dict[str, str]]:
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    return [row for row in _rows(options) if row["source_sha256"] == sha256]


def test_every_view_becomes_its_image_and_its_mask(options: ConversionOptions, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(options) == 0
    assert len(_rows(options)) == 12
    scan = options.input / "p4" / "scan4.dcm"
    for row, view in zip(_by_source(options, scan), read_views(scan), strict=True):
        assert (row["view"], row["counts"], row["split"], row["study"]) == (view.view, str(view.counts.sum()), "train", "1")
        assert row["case"] == f"{row['patient']}_01_{'ant' if view.view == 'anterior' else 'post'}"
        assert np.array_equal(_pixels(_folder(options) / f"imagesTr/{row['case']}_0000.nii.gz"), view.counts + 1.0)
        mask = _pixels(_folder(options) / f"labelsTr/{row['case']}.nii.gz")
        yy, xx = np.mgrid[:48, :16] + 0.5
        assert mask.dtype == np.uint8
        assert abs(int(mask.sum()) - int((np.hypot(xx - 8, yy - 20) <= 6).sum())) <= 4
        assert float(row["lesion_area_mm2"]) == pytest.approx(mask.sum() * 2.26 * 2.5)
        assert row["lesions"] == "1"
    assert {row["lesions"] for row in _by_source(options, options.input / "p0" / "scan0.dcm")} == {"0"}
    printed = capsys.readouterr().out
    assert "12 views of 6 patients" in printed
    assert "8 of them with lesions" in printed


def test_both_views_of_a_patient_are_in_one_fold(options: ConversionOptions) -> None:
    assert run(options) == 0
    splits = json.loads((_folder(options) / "splits_final.json").read_text())
    assert len(splits) == 3
    for number, fold in enumerate(splits):
        assert not {case.split("_")[0] for case in fold["train"]} & {case.split("_")[0] for case in fold["val"]}
        assert sorted(fold["val"]) == sorted(row["case"] for row in _rows(options) if row["fold"] == str(number))
    on_disk = {path.name.removesuffix(".nii.gz") for path in (_folder(options) / "labelsTr").iterdir()}
    assert {case for fold in splits for case in fold["val"]} == on_disk


def test_the_same_input_gives_the_same_bytes_with_one_worker_or_two(options: ConversionOptions) -> None:
    assert run(options) == 0
    first = _hashes(options.raw or Path())
    assert run(replace(options, jobs=2)) == 0
    assert _hashes(options.raw or Path()) == first


def test_no_identity_reaches_the_output(options: ConversionOptions, write_dicom: WriteDicom) -> None:
    write_dicom(options.input / "BERRA_J.dcm", lambda dataset: setattr(dataset, "Modality", "CT"))
    assert run(options) == 0
    dataset = pydicom.dcmread(options.input / "p1" / "scan1.dcm")
    secrets = [str(dataset[k].value) for k in ("PatientName", "PatientID", "StudyInstanceUID", "SOPInstanceUID", "StudyDate")]
    secrets += ["ZURICH", "BERRA", "scan1", str(options.input)]
    for path in (options.raw or Path()).rglob("*"):
        content = b"" if path.is_dir() else path.read_bytes()
        text = str(path.relative_to(options.raw or Path())).encode() + (
            gzip.decompress(content) if path.suffix == ".gz" else content
        )
        for secret in secrets:
            assert secret.encode() not in text, (path.name, secret)


def test_the_key_lies_beside_the_dataset_and_decides_the_names(options: ConversionOptions, tmp_path: Path) -> None:
    assert run(options) == 0
    key = (options.raw or Path()) / "msa_pseudonym.key"
    assert key.stat().st_mode & 0o777 == 0o600
    names = {row["patient"] for row in _rows(options)}
    assert run(replace(options, key=tmp_path / "another.key")) == 0
    assert not names & {row["patient"] for row in _rows(options)}
    assert run(replace(options, key=key)) == 0
    assert names == {row["patient"] for row in _rows(options)}


def test_test_patients_are_set_apart_with_all_their_views(options: ConversionOptions) -> None:
    assert run(replace(options, test_fraction=0.34)) == 0
    rows = _rows(options)
    test = {row["patient"] for row in rows if row["split"] == "test"}
    assert len(test) == 2
    assert {row["patient"] for row in rows if row["split"] == "train"}.isdisjoint(test)
    assert all(row["fold"] == "" for row in rows if row["split"] == "test")
    for folder, count in (("imagesTr", 8), ("labelsTr", 8), ("imagesTs", 4), ("labelsTs", 4)):
        assert len(list((_folder(options) / folder).iterdir())) == count
    assert json.loads((_folder(options) / "dataset.json").read_text())["numTraining"] == 8


def test_studies_are_numbered_within_a_patient_and_share_its_fold(
    options: ConversionOptions, write_dicom: WriteDicom, write_outlines: WriteOutlines
) -> None:
    for visit, views in (("2", ("anterior",)), ("3", ("anterior", "posterior"))):
        scan = write_dicom(options.input / "p5" / f"visit{visit}.dcm", patient="ZURICH-5", visit=visit, views=views)
        for view in views:
            write_outlines(scan.with_name(f"visit{visit}_{view}.json"))
    assert run(options) == 0
    (patient,) = {row["patient"] for row in _by_source(options, options.input / "p5" / "scan5.dcm")}
    mine = [row for row in _rows(options) if row["patient"] == patient]
    assert sorted(row["case"].removeprefix(patient) for row in mine) == [
        "_01_ant",
        "_01_post",
        "_02_ant",
        "_03_ant",
        "_03_post",
    ]
    assert len({row["fold"] for row in mine}) == 1


def test_a_second_scan_of_the_same_side_at_one_visit_gets_a_number_of_its_own(
    options: ConversionOptions, write_dicom: WriteDicom, write_outlines: WriteOutlines
) -> None:
    later = write_dicom(
        options.input / "p5" / "scan5_later.dcm",
        lambda dataset: setattr(dataset, "SOPInstanceUID", "2.25.5"),
        patient="ZURICH-5",
    )
    write_outlines(later.with_name("scan5_later_posterior.json"))
    assert run(options) == 0
    rows = _by_source(options, options.input / "p5" / "scan5.dcm") + _by_source(options, later)
    assert [row["case"].split("_", 1)[1] for row in rows] == ["01_ant", "01_post", "02_post"]
    assert len({row["fold"] for row in rows}) == 1


def test_a_dataset_written_under_the_input_folder_is_not_read_as_input(options: ConversionOptions) -> None:
    inside = replace(options, raw=options.input / "raw")
    for _ in range(2):
        assert run(inside) == 0
        manifest = json.loads((_folder(inside) / "manifest.json").read_text())
        assert (len(manifest["cases"]), manifest["skipped"]) == (12, [])


def test_single_frame_files_of_one_visit_are_one_study(
    options: ConversionOptions, write_dicom: WriteDicom, write_outlines: WriteOutlines
) -> None:
    for view in ("anterior", "posterior"):
        write_dicom(options.input / f"single_{view}.dcm", patient="ZURICH-9", views=(view,))
        write_outlines(options.input / f"single_{view}.json", (8, 8, 3))
    assert run(options) == 0
    rows = _by_source(options, options.input / "single_anterior.dcm") + _by_source(
        options, options.input / "single_posterior.dcm"
    )
    assert [row["case"].split("_", 1)[1] for row in rows] == ["01_ant", "01_post"]


@pytest.mark.parametrize(("mode", "expected"), [("skip", 9), ("negative", 12), ("test", 11)])
def test_views_without_outlines_go_where_they_were_sent(
    options: ConversionOptions, mode: str, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """One patient has no outlines; another, who is trained on, lacks them for one view, which must not be a test case."""
    for path in (options.input / "p1").glob("*.json"):
        path.unlink()
    lone = options.input / "p2" / "scan2_posterior.json"
    lone.unlink()
    assert run(replace(options, unlabelled=mode)) == 0  # type: ignore[arg-type]
    rows = _rows(options)
    assert len(rows) == expected
    unlabelled = _by_source(options, options.input / "p1" / "scan1.dcm")
    said = capsys.readouterr()
    assert (f"{options.input / 'p1' / 'scan1.dcm'}: 2 of its views have no outlines" in said.err) == (mode == "skip")
    if mode == "test":
        assert [(row["split"], row["lesions"], row["fold"]) for row in unlabelled] == [("test", "", "")] * 2
        assert not (_folder(options) / "labelsTs").exists()
        assert "training patients: 1" in said.out
    if mode == "negative":
        assert [(row["split"], row["lesions"]) for row in unlabelled] == [("train", "0")] * 2


def test_scans_without_any_outlines_become_a_dataset_to_predict(
    options: ConversionOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in options.input.rglob("*.json"):
        path.unlink()
    assert run(replace(options, unlabelled="test")) == 0
    seen = {path.name for path in _folder(options).iterdir() if not path.name.startswith(".")}
    assert seen == {"dataset.json", "imagesTs", "manifest.csv", "manifest.json", "qc.html"}
    dataset = json.loads((_folder(options) / "dataset.json").read_text())
    assert (dataset["numTraining"], dataset["msa"]["spacing_mm"]) == (0, [2.26, 2.5])
    assert "test: 12 views of 6 patients" in capsys.readouterr().out


def test_the_labelme_rule_and_anscombe_reach_the_files(options: ConversionOptions) -> None:
    assert run(options) == 0
    area = sum(float(row["lesion_area_mm2"]) for row in _rows(options))
    assert run(replace(options, pixel_rule="labelme", channels="anscombe")) == 0
    assert sum(float(row["lesion_area_mm2"]) for row in _rows(options)) > 1.1 * area
    dataset = json.loads((_folder(options) / "dataset.json").read_text())
    assert (dataset["msa"]["pixel_rule"], dataset["msa"]["channels"], dataset["channel_names"]["0"]) == (
        "labelme",
        "anscombe",
        "anscombe",
    )
    image = _pixels(next((_folder(options) / "imagesTr").iterdir()))
    assert image.min() == pytest.approx(2 * np.sqrt(0.375))


def test_damaged_files_are_named_and_the_rest_is_converted(
    options: ConversionOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, outlines = options.input / "p1" / "scan1.dcm", options.input / "p2" / "scan2_anterior.json"
    scan.write_bytes(scan.read_bytes()[:900])
    outlines.write_text(outlines.read_text()[:50])
    (options.input / "notes.txt").write_text("none of ours")
    assert run(options) == 1
    printed = capsys.readouterr()
    assert f"{scan}: " in printed.err
    assert f"{outlines}: is not valid JSON" in printed.err
    assert "damaged and left out: 2" in printed.out
    assert "skipped, 1 file: is not a DICOM file." in printed.out
    assert len(_rows(options)) == 9
    manifest = json.loads((_folder(options) / "manifest.json").read_text())
    assert manifest["damaged"] == 2
    assert [entry["reason"] for entry in manifest["skipped"]] == ["is not a DICOM file."]


def test_an_outline_outside_its_image_is_named_with_its_file(
    options: ConversionOptions, write_outlines: WriteOutlines, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_outlines(options.input / "p1" / "scan1_anterior.json", (8, 8, 2), (8, 90, 2))
    assert run(options) == 1
    assert f"{path}: outline 2 ('metastasis') lies outside the image" in capsys.readouterr().err
    assert len(_rows(options)) == 11


def test_small_outlines_are_counted_as_grown(
    options: ConversionOptions, write_outlines: WriteOutlines, capsys: pytest.CaptureFixture[str]
) -> None:
    write_outlines(options.input / "p1" / "scan1_anterior.json", (8.1, 8.1, 0.05))
    assert run(options) == 0
    assert "grown to one: 1" in capsys.readouterr().out


def test_outlines_of_a_file_that_is_no_scan_are_named_and_left_out(
    options: ConversionOptions, write_dicom: WriteDicom, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dicom(options.input / "p1" / "scan1.dcm", lambda dataset: setattr(dataset, "Modality", "CT"))
    assert run(options) == 1
    said = capsys.readouterr()
    assert "scan1_posterior.json: holds outlines of scan1.dcm, which is not converted: its modality is CT" in said.err
    assert f"{options.input / 'p1' / 'scan1.dcm'}: skipped: its modality is CT" in said.err
    assert len(_rows(options)) == 10


def test_a_copy_of_a_scan_counts_once_and_with_outlines_of_its_own_stops_the_run(
    options: ConversionOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = options.input / "copy"
    copy.mkdir()
    shutil.copy(options.input / "p1" / "scan1.dcm", copy / "other_name.dcm")
    assert run(options) == 0
    assert "copies of a scan" not in capsys.readouterr().out  # without outlines it is left out as unlabelled
    assert run(replace(options, unlabelled="negative")) == 2
    assert "is a copy of" in capsys.readouterr().err
    assert run(replace(options, unlabelled="test")) == 0
    assert "copies of a scan: 2" in capsys.readouterr().out
    assert len(_rows(options)) == 12


def test_a_plan_made_from_other_folds_is_pointed_out(
    options: ConversionOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    older = tmp_path / "Dataset007_Bone" / "splits_final.json"
    older.parent.mkdir()
    older.write_text("[]")
    assert run(options) == 0
    assert f"delete {older.parent} before planning" in capsys.readouterr().err
    shutil.copy(_folder(options) / "splits_final.json", older)
    assert run(options) == 0
    assert "before planning" not in capsys.readouterr().err
