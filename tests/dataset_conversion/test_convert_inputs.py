"""Scans and outlines as groups have them: other formats, other names, several readers."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from dataset_conversion.annotations import labelme, tracing
from dataset_conversion.annotations.outline import AnnotatedView
from dataset_conversion.convert import ConversionOptions, run
from dataset_conversion.dicom_nm import read_views

WriteDicom = Callable[..., Path]
WriteOutlines = Callable[..., Path]


def _folder(options: ConversionOptions) -> Path:
    return (options.raw or Path()) / "Dataset007_Bone"


def _rows(options: ConversionOptions) -> list[dict[str, str]]:
    with (_folder(options) / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _pixels(path: Path) -> np.ndarray:
    pixels: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return pixels


def _masks(options: ConversionOptions) -> dict[str, np.ndarray]:
    return {path.name.split(".")[0]: _pixels(path) for path in sorted((_folder(options) / "labelsTr").iterdir())}


def _same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def _refused(options: ConversionOptions, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(options) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert not _folder(options).exists()
    return printed.err


def test_predictions_written_as_labelme_convert_back_pixel_for_pixel(options: ConversionOptions) -> None:
    assert run(options) == 0
    before = _masks(options)
    for number in range(6):
        scan = options.input / f"p{number}" / f"scan{number}.dcm"
        for view in read_views(scan):
            case = next(r["case"] for r in _rows(options) if r["view"] == view.view and r["counts"] == str(view.counts.sum()))
            outlines = tracing.trace(before[case] > 0, "metastasis")
            labelme.write(
                scan.with_name(f"scan{number}_{view.view}.json"), AnnotatedView(outlines, *before[case].shape), "x.png"
            )
    assert run(options) == 0
    assert _same(_masks(options), before)


def test_pictures_with_side_cars_and_mask_images_give_what_dicom_and_outlines_give(
    options: ConversionOptions, tmp_path: Path
) -> None:
    assert run(options) == 0
    of_dicom = {(row["counts"], row["view"]): row for row in _rows(options)}
    masks = _masks(options)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        for view in read_views(options.input / f"p{number}" / f"scan{number}.dcm"):
            stem = f"scan{number}_{view.view}"
            Image.fromarray(view.counts).save(folder / f"{stem}.png")
            (folder / f"{stem}.scan.json").write_text(json.dumps({"spacing_mm": [2.26, 2.5], "patient": f"ZURICH-{number}"}))
            case = of_dicom[str(view.counts.sum()), view.view]["case"]
            Image.fromarray(masks[case]).save(folder / f"{stem}_mask.png")
    pictures = replace(options, input=folder, raw=tmp_path / "other", key=(options.raw or Path()) / "msa_pseudonym.key")
    assert run(pictures) == 0
    assert _same(_masks(pictures), masks)
    for row in _rows(pictures):
        same = of_dicom[row["counts"], row["view"]]
        assert {k: v for k, v in row.items() if k != "source_sha256"} == {k: v for k, v in same.items() if k != "source_sha256"}


def test_one_coco_file_outlines_many_scans(options: ConversionOptions) -> None:
    assert run(options) == 0
    before = _masks(options)
    images, annotations = [], []
    for path in sorted(options.input.rglob("*.json")):
        content = labelme.read(path)[0].content
        images.append({"id": len(images) + 1, "file_name": f"pngs/{path.stem}.png", "height": 48, "width": 16})
        for outline in content.outlines:
            entry = {"id": len(annotations) + 1, "image_id": len(images), "category_id": 1, "iscrowd": 0, "area": 1.0}
            annotations.append({**entry, "segmentation": [outline.points.ravel().tolist()], "bbox": [0, 0, 1, 1]})  # type: ignore[union-attr]
        path.unlink()
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "Metastasis"}]}
    (options.input / "instances_default.json").write_text(json.dumps(coco))
    assert run(options) == 0
    assert _same(_masks(options), before)


def test_outlines_named_by_their_instance_uid_find_their_scan(options: ConversionOptions) -> None:
    assert run(options) == 0
    before = _masks(options)
    for number in range(6):
        uid = pydicom.dcmread(options.input / f"p{number}" / f"scan{number}.dcm").SOPInstanceUID
        for view in ("anterior", "posterior"):
            (options.input / f"p{number}" / f"scan{number}_{view}.json").rename(options.input / f"{uid}_{view}.json")
    assert run(options) == 0
    assert _same(_masks(options), before)


def test_outlines_of_any_name_find_the_scan_by_the_image_they_state(
    options: ConversionOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    path = options.input / "p1" / "scan1_anterior.json"
    content = json.loads(path.read_text())
    path.unlink()
    for image_name in ("..\\png\\scan1_anterior.png", "C:\\work\\scan1_anterior.png", "/data/png/scan1_anterior.png"):
        (options.input / "p1" / "reader.json").write_text(json.dumps({**content, "imagePath": image_name}))
        assert run(options) == 0
        assert len(_rows(options)) == 12
    (options.input / "p1" / "reader.json").write_text(json.dumps({**content, "imagePath": "scam1_anterior.png"}))
    assert run(options) == 2
    assert "holds outlines but there is no scan reader.dcm nor scam1_anterior.png" in capsys.readouterr().err


def test_pictures_to_draw_on_beside_their_dicom_scan_are_no_scans(
    options: ConversionOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((48, 16), np.uint8)).save(options.input / "p1" / "scan1_anterior.png")
    assert run(options) == 0
    assert "skipped, 1 file: is a picture of a DICOM scan of the same name" in capsys.readouterr().out
    assert len(_rows(options)) == 12


def test_a_table_pairs_scans_with_outlines_whatever_their_names(
    options: ConversionOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(options) == 0
    before = _masks(options)
    lines = ["scan,outlines,view"]
    for number in range(6):
        for view in ("anterior", "posterior"):
            (options.input / f"p{number}" / f"scan{number}_{view}.json").rename(
                options.input / f"drawing{number}{view[0]}.json"
            )
            lines.append(f"p{number}/scan{number}.dcm,drawing{number}{view[0]}.json,{view}")
    table = tmp_path / "pairs.csv"
    table.write_text("\n".join(lines))
    assert run(replace(options, pairs=table)) == 0
    assert _same(_masks(options), before)
    capsys.readouterr()
    table.write_text("\n".join([*lines, "p9/scan9.dcm,drawing0a.json,anterior", "p1/scan1.dcm,absent.json,anterior"]))
    assert run(replace(options, pairs=table)) == 2
    said = capsys.readouterr().err
    assert "row 14 names the scan" in said
    assert "row 15 names" in said


@pytest.fixture
def two_raters(options: ConversionOptions, write_outlines: WriteOutlines) -> ConversionOptions:
    """A second rater, in a folder of that name, who drew smaller lesions and saw none in two scans."""
    (options.input / "weber").mkdir()
    for number in range(6):
        for view in ("anterior", "posterior"):
            discs = [(8.0, 20.0, 1.0 + number)] if number % 3 and number != 2 else []
            write_outlines(options.input / "weber" / f"scan{number}_{view}.json", *discs)
    return options


def test_two_raters_without_a_rule_stop_the_run(two_raters: ConversionOptions, capsys: pytest.CaptureFixture[str]) -> None:
    said = _refused(two_raters, capsys)
    assert "has outlines of 2 raters (scan0_anterior.json, weber); say --raters majority" in said
    assert "--raters is 'weker'; expected majority, staple, weber" in _refused(replace(two_raters, raters="weker"), capsys)


def test_raters_agree_by_majority_staple_or_one_of_them(
    two_raters: ConversionOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    areas = {}
    for rule in ("majority", "staple", "weber"):
        assert run(replace(two_raters, raters=rule)) == 0
        areas[rule] = {row["case"]: float(row["lesion_area_mm2"]) for row in _rows(two_raters)}
        manifest = json.loads((_folder(two_raters) / "manifest.json").read_text())
        assert manifest["options"]["raters"] == (rule if rule != "weber" else "one rater")
    # Of two raters a majority is both; the smaller discs lie inside the larger ones.
    assert areas["majority"] == areas["weber"]
    with (_folder(two_raters) / "manifest.csv").open() as file:
        assert "weber" not in file.read()
    assert run(replace(two_raters, raters="majority")) == 0
    with (_folder(two_raters) / "agreement.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 12
    assert {(row["rater_a"], row["rater_b"]) for row in table} <= {("rater_1", "rater_2"), ("rater_2", "rater_1")}
    assert any(row["dice"] == "" for row in table)  # both saw nothing
    assert any(0 < float(row["dice"]) < 1 for row in table if row["dice"])
    assert "weber" in capsys.readouterr().out  # the key to the numbers, for the terminal alone


def test_three_raters_vote(two_raters: ConversionOptions, write_outlines: WriteOutlines) -> None:
    shutil.copytree(two_raters.input / "weber", two_raters.input / "lang")
    assert run(replace(two_raters, raters="majority")) == 0
    voted = _masks(two_raters)
    assert run(replace(two_raters, raters="lang")) == 0
    assert _same(_masks(two_raters), voted)


def test_a_raters_name_may_be_the_last_part_of_the_file_name(options: ConversionOptions, write_outlines: WriteOutlines) -> None:
    write_outlines(options.input / "p1" / "scan1_anterior.weber.json", (8, 8, 2))
    assert run(replace(options, raters="majority")) == 0
    assert len(_rows(options)) == 12
    with (_folder(options) / "agreement.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["rater_a"], row["rater_b"]) == ("rater_1", "rater_2")


def test_a_labels_file_makes_classes_drops_and_ignores(
    options: ConversionOptions, write_outlines: WriteOutlines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.yaml"
    labels.write_text(
        "classes:\n  metastasis: [metastasis, Metastase, 转移]\n  benign: [fracture]\ndrop: [kidney]\nignore: [unsure]\n"
    )
    for number, label in enumerate(("METASTASE", "fracture", "kidney", "unsure", "转移")):
        write_outlines(options.input / f"p{number}" / f"scan{number}_anterior.json", (8, 8, 3), label=label)
    assert run(replace(options, labels=labels)) == 0
    dataset = json.loads((_folder(options) / "dataset.json").read_text())
    assert dataset["labels"] == {"background": 0, "metastasis": 1, "benign": 2, "ignore": 3}
    assert {int(value) for mask in _masks(options).values() for value in np.unique(mask)} == {0, 1, 2, 3}
    write_outlines(options.input / "p5" / "scan5_anterior.json", (8, 8, 3), label="spleen")
    capsys.readouterr()
    assert run(replace(options, labels=labels)) == 2
    assert "scan5_anterior.json: shape 1 has the label 'spleen'" in capsys.readouterr().err


def test_paired_views_are_two_channels_and_a_lone_view_is_left_out(
    options: ConversionOptions, write_dicom: WriteDicom, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dicom(options.input / "p1" / "scan1.dcm", patient="ZURICH-1", views=("anterior",))
    (options.input / "p1" / "scan1_posterior.json").unlink()
    lone = options.input / "p2" / "scan2_posterior.json"
    lone.unlink()  # without outlines it is no case, but still its opposite's second channel
    assert run(replace(options, views="paired")) == 0
    assert "views without their opposite view: 1" in capsys.readouterr().out
    assert len(_rows(options)) == 9
    assert json.loads((_folder(options) / "dataset.json").read_text())["channel_names"] == {"0": "zscore", "1": "zscore"}
    for row in _rows(options):
        one, two = (_pixels(_folder(options) / f"imagesTr/{row['case']}_000{channel}.nii.gz") for channel in (0, 1))
        assert one.shape == two.shape
        assert two.min() >= 1
        assert row["shift_rows"] != ""


def test_counts_are_written_as_counts_and_png_as_whole_numbers(options: ConversionOptions, tmp_path: Path) -> None:
    scan = options.input / "p4" / "scan4.dcm"
    assert run(replace(options, channels="counts")) == 0
    dataset = json.loads((_folder(options) / "dataset.json").read_text())
    assert (dataset["channel_names"], dataset["msa"]["channels"]) == ({"0": "noNorm"}, "counts")
    for view in read_views(scan):
        row = next(r for r in _rows(options) if r["counts"] == str(view.counts.sum()) and r["view"] == view.view)
        image = _pixels(_folder(options) / f"imagesTr/{row['case']}_0000.nii.gz")
        assert image.min() > 0
        assert np.array_equal(np.round(image), view.counts)
    assert run(replace(options, file_format="png")) == 0
    assert json.loads((_folder(options) / "dataset.json").read_text())["file_ending"] == ".png"
    assert {path.suffix for folder in ("imagesTr", "labelsTr") for path in (_folder(options) / folder).iterdir()} == {".png"}
    assert run(replace(options, file_format="png", channels="anscombe")) == 2
