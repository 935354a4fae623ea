"""The demo's new scans are the test patients' alone, and a mask that differs from nnU-Net's ends it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dataset_conversion.network_input import write_image
from dataset_conversion.staging.records import sha256_of
from msa_trainer.demo_new_scans import gather, masks_of_msa, masks_of_nnunet, require_identical

SPACING = (2.26, 2.26)


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """Three studies with outlines, of which the second is for testing, with its masks by both commands in two views."""
    (tmp_path / "studies").mkdir()
    rows = []
    for number, split in enumerate(("train", "test", "train")):
        scan = tmp_path / "studies" / f"scan_{number}.dcm"
        scan.write_bytes(bytes([number]))
        scan.with_name(f"scan_{number}_anterior.json").write_text("{}")
        for view, ending in (("anterior", "ant"), ("posterior", "post")):
            rows.append({"case": f"P{number}_{ending}", "view": view, "split": split, "source_sha256": sha256_of(scan)})
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for folder in ("predictions", "findings/Pa1"):
        (tmp_path / folder).mkdir(parents=True)
    views = []
    for value, row in enumerate(rows[2:4]):
        mask = np.full((6, 4), value, np.uint8)
        write_image(tmp_path / "predictions" / f"{row['case']}.nii.gz", mask, SPACING)
        write_image(tmp_path / "findings" / "Pa1" / f"Pa1_{value}.nii.gz", mask, SPACING)
        views.append({"source": row["source_sha256"], "view": row["view"], "name": f"Pa1_{value}"})
    (tmp_path / "findings" / "Pa1" / "complete.json").write_text(json.dumps({"views": views}))
    return tmp_path


def compared(demo: Path) -> int:
    return require_identical(masks_of_msa(demo / "findings"), masks_of_nnunet(demo / "manifest.csv", demo / "predictions"))


def test_the_test_patients_scans_and_the_real_one_are_copied_without_outlines(demo: Path) -> None:
    (demo / "NM1.dcm").write_bytes(b"real")
    copies = gather(demo / "manifest.csv", demo / "studies", [demo / "NM1.dcm"], demo / "scans")
    assert sorted(path.name for path in (demo / "scans").iterdir()) == ["NM1.dcm", "scan_1.dcm"]
    assert [path.read_bytes() for path in copies] == [b"\x01", b"real"]


def test_a_test_scan_that_is_not_there_is_named_by_number(demo: Path) -> None:
    (demo / "studies" / "scan_1.dcm").write_bytes(b"changed")
    with pytest.raises(SystemExit, match="names 1 test scans, of which 0 are in"):
        gather(demo / "manifest.csv", demo / "studies", [], demo / "scans")
    assert not (demo / "scans").exists()


def test_equal_masks_are_counted(demo: Path) -> None:
    assert compared(demo) == 2


def test_one_pixel_that_differs_is_one_too_many(demo: Path) -> None:
    mask = np.ones((6, 4), np.uint8)
    mask[3, 2] = 0
    write_image(demo / "findings" / "Pa1" / "Pa1_1.nii.gz", mask, SPACING)
    with pytest.raises(SystemExit, match=r"Pa1_1.* differ in 1 pixels"):
        compared(demo)


def test_a_mask_of_another_shape_differs_in_all_pixels(demo: Path) -> None:
    write_image(demo / "predictions" / "P1_ant.nii.gz", np.zeros((4, 6), np.uint8), SPACING)
    with pytest.raises(SystemExit, match="differ in all pixels"):
        compared(demo)


def test_a_view_that_was_not_predicted_is_missed(demo: Path) -> None:
    marker = demo / "findings" / "Pa1" / "complete.json"
    marker.write_text(json.dumps({"views": json.loads(marker.read_text())["views"][:1]}))
    with pytest.raises(SystemExit, match="msa predict wrote 1 masks, nnUNetv2_predict 2"):
        compared(demo)


def test_a_mask_that_was_not_written_is_named(demo: Path) -> None:
    (demo / "predictions" / "P1_post.nii.gz").unlink()
    with pytest.raises(SystemExit, match=r"P1_post.nii.gz is not there"):
        compared(demo)


def test_nothing_compared_is_no_agreement() -> None:
    with pytest.raises(SystemExit, match="wrote 0 masks"):
        require_identical({}, {})
