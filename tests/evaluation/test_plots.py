from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from PIL import Image

from evaluation.plots import bland_altman_plot, froc_plot, recall_by_size_plot, rendered, size_dice_plot


def stratum(name: str, n: int, mean: float | None) -> dict[str, Any]:
    ends = {"low": None, "high": None} if mean is None else {"low": mean - 0.1, "high": min(mean + 0.1, 1)}
    return {"name": name, "n": n, "sensitivity": {"mean": mean, **ends, "n": n}}


STRATA = [stratum("diameter < 10 mm", 4, 0.25), stratum("diameter >= 10 mm", 0, None), stratum("clustered", 3, 1 / 3)]


def lesions(number: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "source": ["reference"] * number + ["prediction"] * 5,
            "diameter_mm": rng.uniform(5, 50, number + 5),
            "dice": [*rng.uniform(0.2, 0.9, number - 10), *[np.nan] * 15],
            "clustered": rng.random(number + 5) < 0.5,
        }
    )


def images() -> pd.DataFrame:
    return pd.DataFrame({"reference_area_mm2": [100.0, 200, 0, 500, 0], "predicted_area_mm2": [120.0, 150, 30, 520, 0]})


def curve() -> pd.DataFrame:
    return pd.DataFrame(
        {"threshold": [0.9, 0.8, 0.6, 0.2], "fp_per_image": [0.0, 0.25, 0.5, 3.0], "sensitivity": [0.2, 0.5, 0.6, 0.8]}
    )


def every_figure() -> list[Figure]:
    figures = [
        recall_by_size_plot(STRATA),
        size_dice_plot(lesions(), (10, 20)),
        bland_altman_plot(images()),
        froc_plot(curve()),
    ]
    assert all(figure is not None for figure in figures)
    return [figure for figure in figures if figure is not None]


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_results_give_the_same_bytes(kind: str) -> None:
    first, second = ([rendered(figure, kind) for figure in every_figure()] for _ in range(2))
    assert first == second
    assert not any(re.search(rb"\d{4}-\d\d-\d\dT|matplotlib\.org/|Software", content) for content in first if kind == "svg")


def test_the_figures_are_told_apart_in_grey() -> None:
    for figure in every_figure():
        with Image.open(io.BytesIO(rendered(figure, "png"))) as image:
            grey = np.asarray(image.convert("L"))
        assert (grey < 90).sum() > 500  # ink
        assert min(grey.shape) > 250


def test_every_axis_is_labelled() -> None:
    for figure in every_figure()[1:]:
        (axes,) = figure.axes
        assert axes.get_xlabel()
        assert axes.get_ylabel()
    (axes,) = recall_by_size_plot(STRATA).axes
    assert axes.get_xlabel() == "lesion sensitivity (95 % interval)"


def test_recall_shows_each_stratum_with_its_interval_and_n() -> None:
    figure = recall_by_size_plot(STRATA)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.25, 1 / 3])
    assert [container.has_xerr for container in axes.containers if hasattr(container, "has_xerr")] == [True, True]
    assert all(text in texts(figure) for text in ("diameter < 10 mm  (n = 4)", "(n = 0)", "no lesion", "0.33"))


def test_size_against_dice_shows_found_reference_lesions_alone() -> None:
    figure = size_dice_plot(lesions(), (10, 20))
    assert figure is not None
    points = sum(
        len(collection.get_offsets()) for collection in figure.axes[0].collections if isinstance(collection, PathCollection)
    )
    assert points == 50
    assert size_dice_plot(lesions().assign(dice=np.nan), (10, 20)) is None


def test_bland_altman_states_bias_and_limits_in_square_centimetres() -> None:
    figure = bland_altman_plot(images())
    assert figure is not None
    difference = np.array([20, -50, 30, 20, 0]) / 100
    limits = 1.96 * np.std(difference, ddof=1)
    drawn = [line.get_ydata()[0] for line in figure.axes[0].lines if len(line.get_ydata()) == 2]
    for value in (difference.mean(), difference.mean() + limits, difference.mean() - limits):
        assert np.isclose(drawn, value).any()
    assert "lesions in one mask only (n = 1)" in texts(figure)
    assert bland_altman_plot(images() * 0) is None
    volumes = images().rename(columns=lambda name: name.replace("area_mm2", "volume_mm3"))
    of_volumes = bland_altman_plot(volumes, "volume_mm3")
    assert of_volumes is not None
    assert of_volumes.axes[0].get_ylabel() == "prediction − reference, cm³"


def test_froc_steps_up_where_a_threshold_is_reached() -> None:
    figure = froc_plot(curve(), {1.0: {"mean": 0.6, "low": 0.5, "high": 0.7}})
    assert figure is not None
    step = figure.axes[0].lines[0]
    assert list(step.get_xdata()) == [1 / 16, 0.25, 0.5, 3.0, 16]
    assert list(step.get_ydata()) == [0.2, 0.5, 0.6, 0.8, 0.8]
    assert step.get_drawstyle() == "steps-post"
    assert froc_plot(None) is None
    assert froc_plot(curve().assign(sensitivity=np.nan)) is None
