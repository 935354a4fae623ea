"""The accuracy benchmark's arms under `msa compare`: intervals that hold the patients and the seeds, from the kept masks."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import accuracy_sets as sets
from accuracy_arms import run_name
from accuracy_figures import SMALL_MM
from accuracy_table import Schedule, baseline, by_arm
from results_table import done_runs, write_rows

RESULTS = Path(__file__).parent / "results" / "accuracy_compared.csv"
# Of all that `msa compare` reports, the figures of which the project claims something.
FIGURES = {
    "pooled_dice": "Dice, pooled",
    "lesion_f1": "lesion F1",
    "lesion_sensitivity": "lesion recall",
    f"sensitivity diameter < {SMALL_MM:g} mm": f"recall of lesions < {SMALL_MM:g} mm",
    "fp_per_image": "false positives an image",
}
KEPT = (
    "model", "against", "model_mean", "model_runs", "against_mean", "against_runs", "difference", "low", "high",
    "p_permutation_holm", "patients", "verdict",
)  # fmt: skip
Row = dict[str, str]


def compare(rows: Sequence[Row], schedule: Schedule, arms: Sequence[str], root: Path) -> list[Row]:
    """The rows of RESULTS for some arms against the table's baseline, all seeds in it; other schedules keep theirs.

    Raises SystemExit where an arm has no run or the masks of one are gone.
    """
    from evaluation.compare import CompareOptions, run

    done = by_arm(rows, schedule)
    models = []
    for arm in dict.fromkeys([baseline(done), *arms]):
        if arm not in done:
            raise SystemExit(
                f"{arm}: no run of {schedule.steps} steps on the {schedule.set} set is in the table; run it first."
            )
        folders = [root / "predictions" / run_name(one) for one in done[arm]]
        gone = [str(folder) for folder in folders if not folder.is_dir()]
        if gone:
            raise SystemExit(f"{arm}: the masks of {', '.join(gone)} are gone; run these seeds again.")
        models.append(f"{arm}={','.join(map(str, folders))}")
    raw = sets.converted(sets.EVALUATION_SETS[schedule.set], "zscore", root, "single")
    with tempfile.TemporaryDirectory() as folder:
        options = CompareOptions(raw / "labelsTr", tuple(models), Path(folder), raw / "manifest.csv", (SMALL_MM,))
        if run(options) != 0:
            raise SystemExit("msa compare could not compare them all; what it said stands above.")
        with (Path(folder) / "comparison.csv").open(newline="") as opened:
            found = [row for row in csv.DictReader(opened) if row["figure"] in FIGURES]
    origin = {"set": schedule.set, "width": schedule.width, "steps": str(schedule.steps)}
    mine = [origin | {"name": FIGURES[row["figure"]]} | {name: rounded(row[name]) for name in KEPT} for row in found]
    kept = [row for row in done_runs(RESULTS) if Schedule.of(row) != schedule]
    write_rows(RESULTS, [*kept, *mine])
    return mine


def rounded(text: str) -> str:
    try:
        return f"{float(text):.5g}"
    except ValueError:
        return text
