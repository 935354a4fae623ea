from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from dataset_conversion.network_input import network_input
from evaluation.counts import body_mask, read_channels, to_counts


@pytest.mark.parametrize("channels", ["zscore", "anscombe", "counts"])
def test_what_the_conversion_wrote_turns_back_into_counts(channels: str) -> None:
    counts = np.random.default_rng(0).poisson([[0.3, 4.0, 90.0, 2000.0]], (50, 4))
    assert (to_counts(network_input(counts, channels), channels) == counts).all()  # type: ignore[arg-type]


def test_unknown_values_stay_as_they_are() -> None:
    assert to_counts(np.array([[0.0, 2.5]], np.float32), None).tolist() == [[0.0, 2.5]]


def test_what_images_hold_is_read_from_the_dataset_above_or_beside_them(tmp_path: Path) -> None:
    images = tmp_path / "imagesTs"
    images.mkdir()
    assert read_channels(images) is None
    (tmp_path / "dataset.json").write_text(json.dumps({"msa": {"channels": "anscombe"}}))
    assert read_channels(images) == read_channels(tmp_path) == "anscombe"
    for other in ({"msa": {"channels": "other"}}, {"labels": {}}, {"msa": 3}, []):
        (tmp_path / "dataset.json").write_text(json.dumps(other))
        assert read_channels(images) is None
    assert read_channels(None) is None


def test_the_body_is_found_in_noise_without_specks_and_with_its_holes() -> None:
    rows, columns = np.indices((256, 128))
    body = ((rows - 128) / 100) ** 2 + ((columns - 64) / 40) ** 2 <= 1
    cold = (np.abs(rows - 128) < 8) & (np.abs(columns - 64) < 8)
    activity = 0.1 + 5.0 * (body & ~cold)
    activity[10:13, 5:8] = 40  # a drop of tracer beside the body
    found = body_mask(np.random.default_rng(0).poisson(activity), (2.26, 2.26))
    assert (found & body).sum() / body.sum() > 0.98
    assert found.sum() / body.sum() < 1.15
    assert found[cold].all()
    assert not found[8:15, 3:10].any()


def test_an_image_of_one_value_has_no_body() -> None:
    assert not body_mask(np.ones((20, 20)), (2.0, 2.0)).any()


def test_the_body_of_a_real_scan_is_the_patients_outline() -> None:
    counts = np.squeeze(dcmread(get_testdata_file("JPEG-LL.dcm", download=False)).pixel_array).astype(float)
    body = body_mask(counts, (2.26, 2.26))
    assert counts[body].sum() / counts.sum() > 0.97
    assert 0.35 < body.mean() < 0.5
    assert not body[:, :3].any()
    assert not body[:50].any()
    assert not body[900:].any()
