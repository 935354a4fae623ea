"""The accuracy benchmark goes on where it was stopped, and calls nothing a difference that seeds alone can make."""

from __future__ import annotations

import argparse
from pathlib import Path

import accuracy
import accuracy_sets
import accuracy_table
import pytest
from accuracy_arms import ARMS

from msa_trainer.levers import Levers

SCHEDULE = accuracy_table.Schedule("development", 1000, "quarter")


def row(arm: str, seed: int, f1: float) -> dict[str, str]:
    measured = dict.fromkeys(accuracy_table.NAMES, "0.5") | {"lesion_f1": str(f1)}
    origin = {"images": "160", "lesions": "266", "small_lesions": "90", "commit": "abc", "machine": "2 CPU cores"}
    return {"set": "development", "width": "quarter", "steps": "1000", "arm": arm, "seed": str(seed)} | measured | origin


def wanted(arms: list[str], seeds: range) -> list[accuracy.Run]:
    return [
        {"set": "development", "width": "quarter", "steps": 1000, "arm": arm, "seed": seed} for arm in arms for seed in seeds
    ]


def test_runs_that_the_table_has_are_not_run_again_and_every_arm_gets_a_first_seed_before_any_a_second(tmp_path: Path) -> None:
    file = tmp_path / "accuracy.csv"
    accuracy.add_row(file, row("msa", 0, 0.6))
    todo = accuracy.missing_runs(wanted(["stock", "msa"], range(2)), accuracy.done_runs(file))
    assert [(run["arm"], run["seed"]) for run in todo] == [("stock", 0), ("stock", 1), ("msa", 1)]


def test_another_schedule_or_set_is_another_run(tmp_path: Path) -> None:
    file = tmp_path / "accuracy.csv"
    accuracy.add_row(file, row("msa", 0, 0.6))
    (run,) = wanted(["msa"], range(1))
    done = accuracy.done_runs(file)
    assert accuracy.missing_runs([run], done) == []
    assert accuracy.missing_runs([run | {"steps": 4000}], done)
    assert accuracy.missing_runs([run | {"set": "test"}], done)


def test_rows_are_added_and_none_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "accuracy.csv"
    for seed in range(3):
        accuracy.add_row(file, row("stock", seed, 0.5))
    assert [found["seed"] for found in accuracy.done_runs(file)] == ["0", "1", "2"]
    assert [path.name for path in tmp_path.iterdir()] == ["accuracy.csv"]


def test_a_difference_outside_seed_noise_is_bold_and_one_inside_is_not() -> None:
    rows = [row("stock", seed, 0.50 + 0.01 * seed) for seed in range(3)]
    rows += [row("msa", seed, 0.70 + 0.01 * seed) for seed in range(3)]
    rows += [row("unet", seed, 0.515 + 0.01 * seed) for seed in range(3)]
    text = accuracy_table.table(rows, SCHEDULE, ["lesion_f1"])
    assert "| stock | 3 | 0.510 (0.010) |" in text
    assert "| msa | 3 | 0.710 (0.010) **+0.200** |" in text
    assert "| unet | 3 | 0.525 (0.010) +0.015 |" in text


def test_an_arm_with_one_seed_is_never_bold_beside_arms_that_have_several() -> None:
    rows = [row("stock", seed, 0.50 + 0.01 * seed) for seed in range(3)] + [row("msa", 0, 0.9)]
    assert "**" not in accuracy_table.table(rows, SCHEDULE, ["lesion_f1"])


def test_a_lever_is_also_compared_with_its_own_network_at_its_own_patch() -> None:
    rows = [row(arm, seed, f1 + 0.01 * seed) for seed in range(2) for arm, f1 in (("stock", 0.2), ("unet", 0.4), ("msa", 0.6))]
    rows += [row("unet + counts", seed, 0.7 + 0.01 * seed) for seed in range(2)] + [row("msa + trained", 0, 0.61)]
    rows += [row("msa + counts + small patches", 0, 0.9)]  # its network was not run at these patches
    text = accuracy_table.additions(rows, SCHEDULE, ["lesion_f1"])
    assert "| unet + counts | unet | 2, 2 | **+0.300** |" in text
    assert "| msa + trained | msa | 1, 2 | +0.005 |" in text
    assert "small patches" not in text
    assert accuracy_table.additions(rows[:1], SCHEDULE, ["lesion_f1"]) == ""


def test_runs_of_another_width_are_in_a_table_and_document_of_their_own() -> None:
    rows = [row("stock", 0, 0.2), row("stock", 1, 0.8) | {"width": "full"}]
    assert "| stock | 1 | 0.200 |" in accuracy_table.table(rows, SCHEDULE, ["lesion_f1"])
    quarter, full = (accuracy_table.whole(rows, [], width) for width in ("quarter", "full"))
    assert "0.200" in quarter
    assert "0.800" not in quarter
    assert "0.800" in full
    assert "0.200" not in full


def test_a_run_that_fails_costs_the_others_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def perform(run: accuracy.Run, _: Path) -> accuracy.Run:
        if run["arm"] == "unet":
            raise accuracy.RunError("unet failed with exit code 1")
        return run | {"lesion_f1": 0.5}

    monkeypatch.setattr(accuracy, "perform", perform)
    monkeypatch.setattr(accuracy, "RESULTS", tmp_path / "accuracy.csv")
    monkeypatch.setattr(accuracy_sets, "converted", lambda *_: tmp_path)
    monkeypatch.setattr(accuracy_sets, "preprocessed", lambda *_: tmp_path)
    asked = argparse.Namespace(
        set="development", steps=1000, full=False, arms=["stock", "unet", "msa"], seeds=[0], jobs=1, root=tmp_path
    )
    with pytest.raises(SystemExit, match=r"unet failed[\s\S]*1 of 3 runs failed") as stopped:
        accuracy.run_all(asked)
    assert stopped.value.code not in (0, None)
    assert [found["arm"] for found in accuracy.done_runs(tmp_path / "accuracy.csv")] == ["stock", "msa"]


def test_with_one_seed_an_arm_nothing_is_bold_and_the_table_says_so() -> None:
    text = accuracy_table.table([row("stock", 0, 0.2), row("msa", 0, 0.9)], SCHEDULE, ["lesion_f1"])
    assert "**" not in text
    assert "One seed an arm" in text


def test_differences_are_to_the_stock_trainer_at_its_own_patch_where_the_table_has_it() -> None:
    small = [row("stock + small patches", seed, 0.3) for seed in range(2)]
    ours = [row("msa + small patches", seed, 0.4) for seed in range(2)]
    stock = [row("stock", seed, 0.6) for seed in range(2)]
    assert "0.400 (0.000) **+0.100** |" in accuracy_table.table(small + ours, SCHEDULE, ["lesion_f1"])
    assert "0.400 (0.000) **-0.200** |" in accuracy_table.table(small + ours + stock, SCHEDULE, ["lesion_f1"])


def test_the_smallest_effect_is_that_of_a_two_sample_z_test() -> None:
    rows = [row("stock", seed, value) for seed, value in enumerate((0.4, 0.5, 0.6))]  # SD 0.1
    text = accuracy_table.smallest_effect(accuracy_table.by_arm(rows, SCHEDULE))
    assert "0.177 in lesion F1" in text  # (1.96 + 0.84) * 0.1 * sqrt(2 / 5)


NAMED = {  # an arm's words -> what it may differ in from its network
    "trained": {"recipe"}, "frozen": {"recipe"}, "lesion loss 0.2": {"lesion_loss"}, "lesion loss 0.5": {"lesion_loss"},
    "lesion patches": {"lesion_patches"}, "burden": {"burden_exponent"}, "nearest targets": {"keep_tiny_targets"},
    "small patches": {"patch"}, "anscombe": {"channels"}, "counts": {"channels"},
    "count physics": {"channels", "count_physics"}, "transplant": {"channels", "transplant"},
    "both views": {"views", "opposite_dropout"}, "average": {"average"},
}  # fmt: skip
NAMED["all levers"] = set().union(
    *(NAMED[word] for word in ("lesion loss 0.2", "burden", "count physics", "transplant", "both views", "average"))
)


@pytest.mark.parametrize("name", [name for name in ARMS if " + " in name])
def test_an_arm_differs_from_its_network_by_what_its_name_says_and_nothing_else(name: str) -> None:
    network, *words = name.split(" + ")
    arm, plain = ARMS[name], ARMS[network]
    assert arm.network == plain.network
    changed = {field for field in Levers.__dataclass_fields__ if getattr(arm.levers, field) != getattr(plain.levers, field)}
    changed |= {field for field in ("recipe", "channels", "views", "patch") if getattr(arm, field) != getattr(plain, field)}
    assert changed == set().union(*(NAMED[word] for word in words))


def test_the_test_set_is_of_another_simulator() -> None:
    assert accuracy_sets.TEST.parameters != accuracy_sets.DEVELOPMENT.parameters
    assert accuracy_sets.DEVELOPMENT.parameters == accuracy_sets.TRAINING.parameters
    assert len({phantoms.seed for phantoms in (accuracy_sets.TRAINING, accuracy_sets.DEVELOPMENT, accuracy_sets.TEST)}) == 3


def test_a_set_with_other_bytes_than_the_results_table_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "studies" / "Development"
    folder.mkdir(parents=True)
    (folder / "phantom_0001.dcm").write_bytes(b"another simulator")
    with pytest.raises(SystemExit, match="expected 32f31fd6a5"):
        accuracy_sets.write_studies(accuracy_sets.DEVELOPMENT, tmp_path)
