"""`make demo`, as a newcomer types it."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "demo"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("nnUNet_", "MSA_"))}
    done = subprocess.run(["make", "demo", f"DEMO={folder}"], cwd=REPOSITORY, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    (folder.parent / "stdout.txt").write_text(done.stdout)
    (folder.parent / "stderr.txt").write_text(done.stderr)
    return folder


def test_the_demo_finishes_within_fifteen_minutes(demo: Path) -> None:
    marker = json.loads((demo / "demo.json").read_text())
    assert marker["finished"]
    assert marker["seconds"] < 15 * 60


def test_every_stage_says_one_line_and_the_long_ones_show_a_bar(demo: Path) -> None:
    said, shown = ((demo.parent / name).read_text() for name in ("stdout.txt", "stderr.txt"))
    numbers = re.findall(r"^ ?(\d+)\. \S.* \d+\.\d s$", said, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, len(list((demo / "logs").iterdir())) + 1)]
    for long in (
        "train fold 0 with MSATrainer_demo",
        "train fold 1 with MSATrainer_demo",
        "nnUNetv2_predict on the test patients",
    ):
        assert re.search(rf"{long}.*\d+%\|", shown), long


def test_the_real_scan_keeps_every_count_of_its_header(demo: Path) -> None:
    dataset = next((demo / "nnunet" / "nnUNet_raw").glob("Dataset502_*"))
    with (dataset / "manifest.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert int(row["counts"]) == 3_596_452
    assert len(list((demo / "real_prediction").glob("*.nii.gz"))) == 1


def test_new_scans_become_masks_seg_outlines_and_a_report_that_agree_with_nnunet(demo: Path) -> None:
    scans = [path.name for path in (demo / "scans").iterdir()]
    assert "NM1.dcm" in scans
    assert all(name.endswith(".dcm") for name in scans)  # as an archive sends them, without outlines
    run = json.loads((demo / "findings" / "run.json").read_text())
    assert run["outcomes"]["written"] == len(scans) == len(list((demo / "findings").glob("P*/*_seg.dcm")))
    views = sum(1 for _ in (demo / "findings").glob("P*/*.nii.gz"))
    assert views == 2 * (len(scans) - 1) + 1  # NM1 holds the anterior view alone
    assert views == len(list((demo / "findings").glob("P*/labelme/*.json")))
    said = (demo.parent / "stdout.txt").read_text()
    assert f"msa predict and nnUNetv2_predict: {views} masks, identical" in said
    report = (demo / "findings" / "report.html").read_text()
    assert report.count('<script type="application/json" id="viewer-case-') == len(scans)


def test_the_summary_page_leads_to_both_reports_and_says_what_was_run(demo: Path) -> None:
    page = (demo / "index.html").read_text()
    summary = json.loads((demo / "evaluation" / "summary.json").read_text())
    assert summary["schema"] == 1
    assert summary["images"]["missing_prediction"] == 0
    assert summary["strata"][0]["name"] in page.replace("&lt;", "<")
    assert "nnUNetv2_train 501 2d 0 -tr MSATrainer_demo" in page
    for link in re.findall(r'(?:href|src)="([^"]+)"', page):
        assert (demo / link).is_file(), link
    assert {"findings/report.html", "evaluation/report.html"} <= set(re.findall(r'href="([^"]+)"', page))
    cases = len(list((demo / "predictions").glob("*.nii.gz")))
    report = (demo / "evaluation" / "report.html").read_text()
    assert report.count('<script type="application/json" id="viewer-case-') == cases


def test_the_networks_find_more_than_nothing(demo: Path) -> None:
    """A few minutes of training are no result, but a demo whose network never learned would be a broken one."""
    summary = json.loads((demo / "evaluation" / "summary.json").read_text())
    assert summary["pixel"]["pooled"]["dice"] > 0.1
    assert summary["lesion"]["sensitivity"]["mean"] > 0.2


def test_a_second_run_replaces_a_demo_and_refuses_any_other_folder(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    msa = REPOSITORY / ".venv" / "bin" / "msa"
    done = subprocess.run([str(msa), "demo", "-o", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "another folder" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "keep me"
