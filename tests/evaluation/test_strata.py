from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.errors import UnusableInputError
from evaluation.strata import size_in_pixels, size_names, size_stratum, strata, stratum_kind, training_cuts


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


def test_contrast_view_and_number_of_lesions_split_where_they_are_known() -> None:
    table = pd.DataFrame(
        {
            "diameter_mm": [3.0, 12.0, 50.0, 9.0],
            "clustered": [False] * 4,
            "contrast": [1.2, 2.5, np.nan, 9.0],
            "view": ["anterior", "posterior", "anterior", ""],
            "lesions_in_image": [1, 4, 7, 0],
        }
    )
    groups = strata(table, (20.0,))
    assert {name: group.index.tolist() for name, group in groups.items()} == {
        "diameter < 20 mm": [0, 1, 3],
        "diameter >= 20 mm": [2],
        "clustered": [],
        "solitary": [0, 1, 2, 3],
        "contrast < 1.5": [0],
        "contrast 1.5-2.5": [],
        "contrast >= 2.5": [1, 3],
        "view anterior": [0, 2],
        "view posterior": [1],
        "1-3 lesions in the image": [0],
        "4-6 lesions in the image": [1],
        "> 6 lesions in the image": [2],
    }
    kinds = ["size"] * 2 + ["neighbourhood"] * 2 + ["contrast"] * 3 + ["view"] * 2 + ["lesions in the image"] * 3
    assert [stratum_kind(name) for name in groups] == kinds
    unknown = strata(table.assign(contrast=np.nan, view=""), (20.0,))
    assert not any(stratum_kind(name) in ("contrast", "view") for name in unknown)


def test_size_cuts_are_said_in_pixels() -> None:
    assert size_in_pixels((10.0, 20.0, 40.0), 2.26**2, 2) == ["< 15.4 px", "15.4-61.5 px", "61.5-246 px", ">= 246 px"]
    assert size_in_pixels((10.0,), 2.0, 3) == ["< 262 px", ">= 262 px"]  # pi / 6 * 1000 / 2


def test_tertiles_of_the_training_lesions_are_rounded_to_what_is_printed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"source": ["reference"] * 90 + ["prediction"] * 50, "diameter_mm": rng.gamma(3.0, 8.0, 140)})
    table["contrast"] = rng.gamma(4.0, 0.6, 140)
    table.to_csv(tmp_path / "lesions.csv")
    cuts, contrast = training_cuts(tmp_path / "lesions.csv")
    for values, found, digits in ((table["diameter_mm"][:90], cuts, 1), (table["contrast"][:90], contrast, 2)):
        assert found == tuple(np.round(found, digits))
        assert [int(n) for n in np.histogram(values, [0, *found, 1e9])[0]] == pytest.approx([30, 30, 30], abs=2)
    table.drop(columns=["contrast", "source"]).to_csv(tmp_path / "lesions.csv")
    assert training_cuts(tmp_path / "lesions.csv", (1.7,))[1] == (1.7,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("source,area\nreference,3\n", "expected lesions.csv of `msa evaluate` on the training set"),
        ("diameter_mm\nlarge\n", "expected lesions.csv"),
        ("", "expected lesions.csv"),
        ("diameter_mm\n3\n9\n", "2 reference lesions do not divide into tertiles"),
        ("diameter_mm\n3\n3\n3\n3\n", "4 reference lesions do not divide into tertiles"),
        ("source,diameter_mm\nprediction,3\nprediction,5\nprediction,9\n", "0 reference lesions"),
    ],
)
def test_a_table_without_tertiles_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "lesions.csv").write_text(text)
    with pytest.raises(UnusableInputError, match=rf"lesions\.csv: {sentence}"):
        training_cuts(tmp_path / "lesions.csv")
    with pytest.raises(UnusableInputError, match=r"none\.csv: expected lesions\.csv"):
        training_cuts(tmp_path / "none.csv")
