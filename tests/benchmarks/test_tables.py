"""The README's tables are the results' own, and the numbers behind them are computed as their text says."""

from __future__ import annotations

from pathlib import Path

import accuracy
import accuracy_compare
import accuracy_table
import cost
import dsb2018
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_table import done_runs

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()


def test_the_readme_shows_the_committed_results_of_dsb2018() -> None:
    assert dsb2018.table(pd.read_csv(dsb2018.RESULTS).to_dict("records")) in README


@pytest.mark.parametrize("device", cost.MARKERS)
def test_the_readme_shows_the_committed_costs_of_each_device(device: str) -> None:
    rows = [row for row in pd.read_csv(cost.RESULTS).to_dict("records") if row["device"] == device]
    assert cost.table(rows) in README


@pytest.mark.parametrize(("width", "document"), accuracy_table.DOCUMENTS.items())
def test_the_documents_show_every_accuracy_run_that_is_committed(width: str, document: str) -> None:
    rows = accuracy.done_runs(accuracy.RESULTS)
    assert {row["width"] for row in rows} == set(accuracy_table.DOCUMENTS)
    text = (REPOSITORY / document).read_text()
    assert accuracy_table.whole(rows, done_runs(accuracy_compare.RESULTS), width) in text


@pytest.mark.parametrize("figure", ["pooled_dice", "lesion_f1", "small_recall_at_1_fp"])
def test_on_the_test_phantoms_msatrainers_recipe_is_above_stock_by_two_standard_errors_over_five_seeds(figure: str) -> None:
    runs = pd.read_csv(accuracy.RESULTS).query("set == 'test' and width == 'full'").groupby("arm")[figure]
    ours, stock = (runs.get_group(arm) for arm in ("msa + trained + lesion loss 0.2", "stock"))
    assert len(ours) == len(stock) == 5
    difference = ours.mean() - stock.mean()
    error = (ours.var(ddof=1) / 5 + stock.var(ddof=1) / 5) ** 0.5
    assert difference > 2 * error
    prose = " ".join(README.split())
    assert any(f"{difference:+.3f} ({words}{error:.3f})" in prose for words in ("", "standard error over five seeds "))


@pytest.mark.parametrize("figure", ["pooled_dice", "froc", "small_recall_at_1_fp"])
def test_what_is_said_of_all_levers_is_what_they_added_to_our_network_in_the_screen(figure: str) -> None:
    screen = pd.read_csv(accuracy.RESULTS).query("set == 'development' and width == 'quarter' and steps == 1000").groupby("arm")
    added = screen.get_group("msa + all levers")[figure].mean() - screen.get_group("msa")[figure].mean()
    for document in ("README.md", "docs/levers.md"):
        assert f"{added:+.3f}" in (REPOSITORY / document).read_text().split(accuracy_table.BEGIN)[0]


LIMITS = {
    "parameters": 0.4,
    "gflops": 0.8,
    "step_seconds": 0.95,
    "memory_mib": 0.95,
    "equal_seconds": 0.95,
    "own_seconds": 0.55,
}


@pytest.mark.parametrize(("measure", "limit"), LIMITS.items())
def test_the_whole_trainer_costs_clearly_less_than_the_stock_trainer_on_nnunets_256_plan_on_a_cpu(
    measure: str, limit: float
) -> None:
    results = pd.read_csv(cost.RESULTS).query("device == 'cpu'").set_index(["plan", "arm"]).loc["256x256"]
    for arm in list(cost.ARMS)[1:]:
        assert results.loc[arm, f"{measure}_ratio"] <= limit, arm


def test_on_every_plan_it_takes_less_time_on_a_cpu_and_fewer_weights() -> None:
    results = pd.read_csv(cost.RESULTS).query("device == 'cpu'")
    assert set(results["plan"]) == set(cost.PLANS)
    ours = results[results["arm"] != cost.STOCK]
    for measure in ("parameters", "gflops", "step_seconds", "equal_seconds", "own_seconds"):
        assert (ours[f"{measure}_ratio"] < 1).all(), measure


def test_the_discriminator_has_the_parameters_the_table_states() -> None:
    from msa_trainer.discriminator import MultiScaleDiscriminator

    stated = float(cost.DISCRIMINATOR_NOTE.split()[0])
    assert sum(p.numel() for p in MultiScaleDiscriminator(2, (256, 256)).parameters()) / 1e6 == pytest.approx(stated, abs=0.005)


def test_on_real_images_the_network_beats_the_better_threshold_by_more_than_chance_over_images_and_is_not_below_nnunet() -> (
    None
):
    results = pd.read_csv(dsb2018.RESULTS).set_index("method")
    ours, stock = (results.loc[dsb2018.NAMES[trainer]] for trainer in (dsb2018.OURS, dsb2018.STOCK))
    assert ours.dice_mean - results.dice_mean.iloc[:2].max() == pytest.approx(ours.margin, abs=2e-4)
    assert ours.margin_low > 0
    assert ours.dice_mean - stock.dice_mean == pytest.approx(ours.stock_difference, abs=2e-4)
    assert ours.stock_difference > -2 * ours.stock_seed_error


def _dice_values(ours: list[float], stock: list[float]) -> dict[str, np.ndarray]:
    """Of one image and the runs given, and of thresholds that find half."""
    runs = {dsb2018.NAMES[dsb2018.OURS]: ours, dsb2018.NAMES[dsb2018.STOCK]: stock}
    return {"Otsu": np.full((1, 2), 0.5), "z": np.full((1, 2), 0.4)} | {
        name: np.repeat(np.array(values)[:, None], 2, axis=1) for name, values in runs.items()
    }


@pytest.mark.parametrize(("stock", "said"), [([0.91, 0.93, 0.95], "inside"), ([0.90, 0.91, 0.92], "outside")])
def test_a_difference_to_nnunet_is_called_seed_noise_where_it_is_one(stock: list[float], said: str) -> None:
    rows = dsb2018.figures(_dice_values([0.92, 0.94, 0.96], stock)).assign(n=2, commit="c", machine="m").to_dict("records")
    assert rows[0]["margin"] == pytest.approx(0.94 - 0.5)
    assert rows[0]["stock_difference"] == pytest.approx(0.94 - np.mean(stock))
    spreads = [np.std([0.92, 0.94, 0.96], ddof=1), np.std(stock, ddof=1)]
    assert rows[0]["stock_seed_error"] == pytest.approx(np.hypot(*spreads) / 3**0.5)
    assert f"{said} seed noise" in dsb2018.table(rows)
    one = dsb2018.figures(_dice_values([0.92], stock[:1])).assign(n=2, commit="c", machine="m").to_dict("records")
    assert "without the spread over seeds" in dsb2018.table(one)


def test_dice_is_twice_the_overlap_over_the_sum() -> None:
    first, second = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    first[0], second[0, :2] = True, True
    assert dsb2018.dice(first, second) == pytest.approx(2 * 2 / (4 + 2))


@given(st.floats(0.2, 3))
def test_the_tuned_threshold_separates_two_grey_values(gap: float) -> None:
    mask = np.zeros((20, 20), bool)
    mask[5:9, 5:9] = True
    image = 10 + gap * mask
    threshold = dsb2018.tuned_threshold([image], [mask])
    assert np.array_equal(dsb2018.z_scored(image) > threshold, mask)


def test_the_paired_interval_covers_zero_where_nothing_differs() -> None:
    differences = np.array([0.1, -0.1] * 15)
    low, mean, high = dsb2018.paired_interval(differences, 0)
    assert low < 0 < high
    assert mean == pytest.approx(0)
