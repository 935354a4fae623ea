"""What the committed table of evaluation_speed.py claims, and the views it was measured on."""

from __future__ import annotations

import evaluation_speed
import numpy as np
import pandas as pd

from evaluation.lesions import connected_components


def test_286_views_take_under_20_seconds_and_1_gib_on_two_cores_and_memory_hardly_grows_to_10_000() -> None:
    table = pd.read_csv(evaluation_speed.RESULTS)
    small, large = (row for _, row in table[table["what"].str.startswith("msa evaluate")].iterrows())
    assert (small["images"], large["images"], small["jobs"]) == (286, 10_000, 2)
    assert small["seconds"] < 20
    for row in (small, large):
        assert row["main_mib"] + row["jobs"] * row["largest_worker_mib"] < 1024
    assert large["main_mib"] - small["main_mib"] < (10_000 - 286) * 0.05  # the tables; an image alone has 0.75 MiB


def test_the_ratio_to_each_package_is_that_of_the_recorded_times() -> None:
    table = pd.read_csv(evaluation_speed.RESULTS).set_index("what")
    for package in ("panoptica", "surface_distance"):
        ours = table.loc[f"ours beside {package}"]
        assert ours["images"] == table.loc[package, "images"]
        assert abs(table.loc[package, "seconds"] / ours["seconds"] / ours["ratio"] - 1) < 0.3  # medians of three rounds each
        assert ours["ratio"] > 1


def test_a_view_has_the_size_of_a_whole_body_scan_and_lesions_to_find() -> None:
    reference, prediction, image, probability = evaluation_speed.view(np.random.default_rng(0))
    assert reference.shape == prediction.shape == image.shape == probability.shape == (1024, 256)
    assert ((probability >= 0.4) == prediction).all()
    assert image.min() >= 1
    numbers = [connected_components(evaluation_speed.view(np.random.default_rng(seed))[0])[1] for seed in range(12)]
    assert min(numbers) == 0 or max(numbers) > 6
    assert len(set(numbers)) > 4
