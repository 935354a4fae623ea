from __future__ import annotations

import pandas as pd

from evaluation.strata import size_names, size_stratum, strata


def test_default_strata_have_the_documented_names_in_order() -> None:
    table = pd.DataFrame({"diameter_mm": [3.0, 10.0, 39.9, 40.0, 80.0], "clustered": [True, False, False, True, True]})
    assert {name: len(group) for name, group in strata(table).items()} == {
        "diameter < 10 mm": 1,
        "diameter 10-20 mm": 1,
        "diameter 20-40 mm": 1,
        "diameter >= 40 mm": 2,
        "clustered": 3,
        "solitary": 2,
    }
    assert list(strata(table)) == [*size_names(), "clustered", "solitary"]


def test_empty_strata_are_present() -> None:
    table = pd.DataFrame({"diameter_mm": pd.Series([], dtype=float), "clustered": pd.Series([], dtype=bool)})
    assert [len(group) for group in strata(table).values()] == [0] * 6


def test_one_cut_makes_two_strata_and_fractions_keep_their_digits() -> None:
    assert size_names([7.5]) == ["diameter < 7.5 mm", "diameter >= 7.5 mm"]
    assert size_stratum([7.4, 7.5], [7.5]) == ["diameter < 7.5 mm", "diameter >= 7.5 mm"]
