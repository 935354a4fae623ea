from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

from evaluation.burden import agreement, burden_summary, image_burden
from evaluation.cases import CaseMasks


def case(image: np.ndarray | None) -> CaseMasks:
    reference, prediction = np.zeros((2, 40, 30), bool)
    reference[10:14, 10:15] = True
    prediction[10:12, 10:15] = True
    return CaseMasks(reference, prediction, (2.0, 2.0), image, 1, 1)


def test_shares_of_counts_and_area_are_those_counted_by_hand() -> None:
    image = np.zeros((40, 30))
    image[5:25, 5:25] = 2.0
    image[10:12, 10:15] = 12.0
    burden = image_burden(case(image))
    total = 2.0 * (400 - 10) + 12.0 * 10
    assert burden.predicted_counts_share == pytest.approx(120 / total)
    assert burden.reference_counts_share == pytest.approx((120 + 2 * 10) / total)
    assert burden.reference_fraction_of_image == pytest.approx(20 / 1200)
    assert burden.body_fraction_of_image == pytest.approx(400 / 1200, rel=0.25)
    assert burden.reference_fraction_of_body == pytest.approx(20 / 1200 / burden.body_fraction_of_image)
    assert burden.predicted_fraction_of_body == pytest.approx(burden.reference_fraction_of_body / 2)


def test_without_an_image_only_the_share_of_the_image_is_known() -> None:
    burden = image_burden(case(None))
    assert (burden.reference_fraction_of_image, burden.predicted_fraction_of_image) == (20 / 1200, 10 / 1200)
    assert np.isnan(burden[:5]).all()
    assert np.isnan(image_burden(case(np.zeros((40, 30)))).reference_counts_share)


def test_bias_and_limits_are_bland_and_altmans_and_their_intervals_close_to_the_textbooks() -> None:
    rng = np.random.default_rng(0)
    reference = rng.gamma(2.0, 300.0, 120)
    prediction = reference + rng.normal(25.0, 40.0, 120)
    names = [f"P{i:03d}" for i in range(120)]
    found = agreement(reference, prediction, names, names)
    difference = prediction - reference
    mean, sd = difference.mean(), difference.std(ddof=1)
    assert found["bias"]["mean"] == pytest.approx(mean)
    assert found["bias"]["n"] == 120
    for name, sign in (("lower_limit", -1), ("upper_limit", 1)):
        oracle = bootstrap(
            (difference,),
            lambda d, axis=-1, sign=sign: d.mean(axis=axis) + sign * 1.96 * d.std(axis=axis, ddof=1),
            n_resamples=4000, method="BCa", vectorized=True, rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
        limit, error = mean + sign * 1.96 * sd, np.sqrt(3 * sd**2 / 120)  # Bland and Altman 1986: s.e. of a limit
        assert found[name]["mean"] == pytest.approx(limit)
        assert (found[name]["low"], found[name]["high"]) == pytest.approx(tuple(oracle), abs=0.2 * error)
        assert (found[name]["low"], found[name]["high"]) == pytest.approx(
            (limit - 1.96 * error, limit + 1.96 * error), abs=2 * error
        )
    assert found["bias"]["low"] == pytest.approx(mean - 1.96 * sd / np.sqrt(120), abs=0.3 * sd / np.sqrt(120))


def test_two_images_of_a_patient_widen_the_interval_and_one_image_has_no_limits() -> None:
    difference = np.random.default_rng(1).normal(0, 10, 30)
    names = [f"P{i:02d}" for i in range(30)]
    single = agreement(np.zeros(30), difference, names, names)["bias"]
    twice = agreement(np.zeros(60), np.tile(difference, 2), names * 2, names)["bias"]
    assert (twice["low"], twice["high"]) == pytest.approx((single["low"], single["high"]))
    alone = agreement(np.array([1.0]), np.array([3.0]), ["P"], ["P"])
    assert alone["bias"] == {"mean": 2.0, "low": None, "high": None, "n": 1}
    assert alone["upper_limit"]["mean"] is None


def test_burdens_that_no_image_has_are_left_out() -> None:
    images = pd.DataFrame(
        {
            "patient": ["A", "B"],
            "reference_lesions": [2, 0],
            "predicted_lesions": [1, 1],
            "reference_area_mm2": [50.0, 0.0],
            "predicted_area_mm2": [40.0, 10.0],
            "reference_counts_share": [np.nan, np.nan],
            "predicted_counts_share": [np.nan, np.nan],
            "reference_fraction_of_body": [np.nan, np.nan],
            "predicted_fraction_of_body": [np.nan, np.nan],
            "reference_fraction_of_image": [0.1, 0.0],
            "predicted_fraction_of_image": [0.08, 0.02],
        }
    )
    summary = burden_summary(images, ["A", "B"], "area_mm2")
    assert set(summary) == {"lesion_count", "area_mm2", "fraction_of_image"}
    assert summary["lesion_count"]["reference"]["mean"] == 1.0
    assert summary["area_mm2"]["agreement"]["bias"]["mean"] == 0.0
    assert summary["area_mm2"]["agreement"]["upper_limit"]["mean"] == pytest.approx(1.96 * np.std([-10, 10], ddof=1))
