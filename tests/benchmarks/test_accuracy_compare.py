"""The benchmark's arms go through `msa compare` with all their seeds, and what it says is what the README shows."""

from __future__ import annotations

from pathlib import Path

import accuracy_compare
import accuracy_sets
import accuracy_table
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from accuracy_arms import run_name
from results_table import done_runs

SCHEDULE = accuracy_table.Schedule("development", 1000, "quarter")
LESION, ELSEWHERE = (slice(4, 8), slice(4, 8)), (slice(20, 24), slice(20, 24))
PATIENTS, SEEDS = 12, 3


def _write(folder: Path, case: str, *squares: tuple[slice, slice]) -> None:
    mask = np.zeros((32, 32), np.uint8)
    for square in squares:
        mask[square] = 1
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(mask), str(folder / f"{case}.nii.gz"))


def _run(arm: str, seed: int, steps: int = 1000) -> dict[str, str]:
    return {"set": "development", "width": "quarter", "steps": str(steps), "arm": arm, "seed": str(seed)}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve patients with a lesion each: `msa` finds them all, `stock` two in three, each once beside."""
    raw = tmp_path / "raw"
    cases = [f"P{number}_01_ant" for number in range(PATIENTS)]
    (raw / "labelsTr").mkdir(parents=True)
    lines = ["case,patient,view", *(f"{case},{case[:-7]},anterior" for case in cases)]
    (raw / "manifest.csv").write_text("\n".join(lines) + "\n")
    for number, case in enumerate(cases):
        _write(raw / "labelsTr", case, LESION)
        for seed in range(SEEDS):
            false = [ELSEWHERE] if number == seed else []
            _write(tmp_path / "predictions" / run_name(_run("msa", seed)), case, LESION, *false)
            found = [LESION] if number % 3 else []
            _write(tmp_path / "predictions" / run_name(_run("stock", seed)), case, *found, *false)
    monkeypatch.setattr(accuracy_sets, "converted", lambda *_: raw)
    monkeypatch.setattr(accuracy_compare, "RESULTS", tmp_path / "compared.csv")
    return tmp_path


ROWS = [_run(arm, seed) for arm in ("stock", "msa") for seed in range(SEEDS)]


def test_the_masks_of_every_seed_are_compared_and_other_schedules_keep_their_rows(root: Path) -> None:
    other = [_run(arm, 7, steps=4000) for arm in ("stock", "msa")]
    for run in other:
        for number in range(PATIENTS):
            _write(root / "predictions" / run_name(run), f"P{number}_01_ant", LESION)
    longer = accuracy_table.Schedule("development", 4000, "quarter")
    accuracy_compare.compare([*ROWS, *other], longer, ["msa"], root)
    found = accuracy_compare.compare([*ROWS, *other], SCHEDULE, ["msa"], root)
    recall = next(row for row in found if row["name"] == "lesion recall")
    assert (recall["model"], recall["against"], recall["model_runs"], recall["patients"]) == ("msa", "stock", "3", "12")
    assert float(recall["model_mean"]) == 1
    assert float(recall["against_mean"]) == pytest.approx(2 / 3, abs=1e-4)
    assert float(recall["difference"]) == pytest.approx(1 / 3, abs=1e-4)
    assert float(recall["low"]) < 1 / 3 < float(recall["high"])
    kept = done_runs(accuracy_compare.RESULTS)
    assert {row["steps"] for row in kept} == {"1000", "4000"}
    assert accuracy_compare.compare(ROWS, SCHEDULE, ["msa"], root) == found
    assert len(done_runs(accuracy_compare.RESULTS)) == len(kept)


def test_the_table_says_what_was_compared_and_nothing_of_a_schedule_that_was_not(root: Path) -> None:
    rows = accuracy_compare.compare(ROWS, SCHEDULE, ["msa"], root)
    text = accuracy_table.comparison(rows, SCHEDULE)
    assert "| msa: lesion recall | 1.000 | 0.667 | +0.333 (" in text
    assert "The same runs (3 against 3)" in text
    assert accuracy_table.comparison(rows, SCHEDULE._replace(steps=4000)) == ""


def test_an_arm_without_runs_or_without_masks_is_named(root: Path) -> None:
    with pytest.raises(SystemExit, match="unet: no run of 1000 steps on the development set"):
        accuracy_compare.compare(ROWS, SCHEDULE, ["unet"], root)
    with pytest.raises(SystemExit, match=r"msa: the masks of .*msa_9 are gone"):
        accuracy_compare.compare([*ROWS, _run("msa", 9)], SCHEDULE, ["msa"], root)
