"""The network is given the pixels that conversion writes, and what it answers goes back to where they came from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from dataset_conversion.convert import ConversionOptions
from dataset_conversion.convert import run as convert
from dataset_conversion.scans import read_scan
from dataset_conversion.scintigram import Scintigram
from dataset_conversion.thorax import ThoraxBox
from msa_trainer.prediction.case import (
    InputRecipe,
    NetworkCase,
    network_case,
    spacing_flags,
    whole_mask,
    whole_probabilities,
)
from msa_trainer.prediction.errors import PredictionError

SPACING = (2.26, 2.26)


def _scan(counts: np.ndarray, spacing: tuple[float, float] = SPACING) -> Scintigram:
    return Scintigram(counts, spacing, "anterior", "p", "s", "i", 1, Path("scan.dcm"))


@pytest.mark.parametrize("crop", ["none", "thorax"])
@pytest.mark.parametrize("views", ["single", "paired"])
@pytest.mark.parametrize("channels", ["zscore", "anscombe", "counts"])
def test_the_network_is_given_what_conversion_writes_for_the_same_scan(
    phantoms: Path, tmp_path: Path, crop: str, views: str, channels: str
) -> None:
    scan = tmp_path / "in" / "scan.dcm"
    scan.parent.mkdir()
    scan.write_bytes((phantoms / "phantom_0002.dcm").read_bytes())
    options = ConversionOptions(
        scan.parent, 7, "Bone", tmp_path / "raw", crop=crop, views=views, channels=channels, unlabelled="test"
    )  # fmt: skip
    assert convert(options) == 0
    images = tmp_path / "raw" / "Dataset007_Bone" / "imagesTs"
    recipe = InputRecipe(crop, views, channels, SPACING)
    anterior, posterior = read_scan(scan)
    for view, opposite, side in ((anterior, posterior, "ant"), (posterior, anterior, "post")):
        pixels = network_case(view, opposite, recipe).pixels
        written = [sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in sorted(images.glob(f"*_{side}_*.nii.gz"))]
        assert len(written) == len(pixels) == (2 if views == "paired" else 1)
        np.testing.assert_array_equal(pixels, np.stack(written).astype(np.float32))


def test_an_answer_goes_back_into_the_whole_view_at_its_place() -> None:
    view = _scan(np.zeros((9, 7), np.uint16))
    case = NetworkCase(view, np.zeros((1, 4, 3), np.float32), ThoraxBox(2, 3, 4, 3))
    mask = np.arange(12, dtype=np.int64).reshape(4, 3) % 3
    whole = whole_mask(mask, case)
    assert whole.dtype == np.uint8
    assert [tuple(place) for place in np.argwhere(whole)] == [(place[0] + 2, place[1] + 3) for place in np.argwhere(mask)]
    hot = np.full((4, 3), 0.25, np.float32)
    probabilities = whole_probabilities(np.stack([1 - hot, hot]), case)
    np.testing.assert_array_equal(probabilities.sum(0), 1)
    np.testing.assert_array_equal(np.argwhere(probabilities[1]), np.argwhere(whole_mask(np.ones((4, 3)), case)))


@pytest.mark.parametrize(
    ("spacing", "outcome"),
    [((2.26, 2.26), "taken"), ((2.0, 2.4), "taken"), ((2.8, 2.26), "flagged"), ((1.8, 1.8), "flagged"),
     ((1.13, 1.13), "refused"), ((1.0, 1.0), "refused"), ((2.26, 4.8), "refused")],
)  # fmt: skip
def test_a_pixel_size_far_from_the_models_is_flagged_and_one_that_cannot_be_right_refused(
    spacing: tuple[float, float], outcome: str
) -> None:
    recipe = InputRecipe("none", "single", "zscore", SPACING)
    view = _scan(np.ones((4, 4), np.uint16), spacing)
    if outcome == "refused":
        with pytest.raises(PredictionError, match=r"scan\.dcm: its pixels are .* trained on about 2\.26 x 2\.26 mm"):
            spacing_flags(view, recipe)
    else:
        assert [flag.code for flag in spacing_flags(view, recipe)] == ["spacing"] * (outcome == "flagged")


def test_a_paired_model_refuses_a_view_without_its_opposite_or_with_one_of_another_shape() -> None:
    recipe = InputRecipe("none", "paired", "zscore", SPACING)
    view = _scan(np.arange(16, dtype=np.uint16).reshape(4, 4))
    with pytest.raises(PredictionError, match=r"scan\.dcm: its anterior view has no opposite view"):
        network_case(view, None, recipe)
    with pytest.raises(PredictionError, match=r"scan\.dcm: the views of one scan have 4 x 4 and 4 x 5 px"):
        network_case(view, replace(view, counts=np.zeros((4, 5), np.uint16)), recipe)


def test_doubts_about_crop_and_opposite_view_become_flags() -> None:
    here, there = np.zeros((2, 700, 280), np.uint16)
    here[100:120, 40:60] = there[600:620, 120:140] = 50
    case = network_case(_scan(here), _scan(there), InputRecipe("thorax", "paired", "zscore", SPACING))
    assert [flag.code for flag in case.flags] == ["crop", "opposite"]
    assert case.pixels.shape == (2, 256, 256)
