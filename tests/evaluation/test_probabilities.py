from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.errors import UnusableInputError
from evaluation.lesions import connected_components
from evaluation.probabilities import lesion_confidence, read_lesion_probability


def softmax(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = rng.random(shape).astype(np.float32)
    result: NDArray[np.float32] = values / values.sum(axis=0)
    return result


def save(path: Path, probabilities: NDArray, name: str = "probabilities") -> Path:
    np.savez_compressed(path, **{name: probabilities})
    return path


@pytest.mark.parametrize(("stored", "shape"), [((2, 1, 6, 5), (6, 5)), ((4, 1, 6, 5), (6, 5)), ((3, 4, 6, 5), (4, 6, 5))])
def test_the_probability_of_a_lesion_is_that_of_all_labels_above_background(
    tmp_path: Path, stored: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    classes = softmax(np.random.default_rng(0), stored)
    read = read_lesion_probability(save(tmp_path / "a.npz", classes), shape)
    assert read.shape == shape
    np.testing.assert_allclose(read, classes[1:].sum(axis=0).reshape(shape), atol=1e-6)


def test_regions_have_no_background_and_the_likeliest_counts(tmp_path: Path) -> None:
    regions = np.random.default_rng(0).random((2, 1, 3, 4)).astype(np.float32)
    read = read_lesion_probability(save(tmp_path / "a.npz", regions), (3, 4), has_regions=True)
    assert (read == regions.max(axis=0)[0]).all()


def test_half_precision_may_round_a_probability_above_one(tmp_path: Path) -> None:
    classes = np.stack([np.full((1, 2, 2), -0.001, np.float16), np.full((1, 2, 2), 1.001, np.float16)])
    assert read_lesion_probability(save(tmp_path / "a.npz", classes), (2, 2)) == pytest.approx(np.full((2, 2), 1.001), abs=1e-3)


def with_nan() -> NDArray[np.float32]:
    classes = softmax(np.random.default_rng(0), (2, 1, 3, 4))
    classes[1, 0, 2, 3] = np.nan
    return classes


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (with_nan(), r"a\.npz: found NaN at index \(1, 0, 2, 3\) of the probabilities"),
        (np.full((2, 1, 4, 3), 0.5), r"shape \(2, 1, 4, 3\); expected \(classes, 1, 3, 4\)"),
        (np.full((2, 3, 4), 0.5), r"shape \(2, 3, 4\); expected \(classes, 1, 3, 4\)"),
        (np.full((1, 1, 3, 4), 0.5), r"shape \(1, 1, 3, 4\)"),
        (np.array(0.5), r"shape \(\)"),
        (np.full((2, 1, 3, 4), 7.5), r"found the value 7\.5; expected probabilities from 0 to 1"),
        (np.full((2, 1, 3, 4), np.inf), r"found the value inf"),
        (np.ones((2, 1, 3, 4), np.int64), r"are of type int64; expected floating-point"),
    ],
)
def test_what_are_no_probabilities_of_the_case_is_named(tmp_path: Path, classes: NDArray, sentence: str) -> None:
    with pytest.raises(UnusableInputError, match=sentence):
        read_lesion_probability(save(tmp_path / "a.npz", classes), (3, 4))


def test_damaged_and_other_files_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", softmax(np.random.default_rng(0), (2, 1, 30, 40)))
    whole = path.read_bytes()
    for content in (b"", b"no archive", whole[:200], whole[:100] + bytes(len(whole) - 300) + whole[-200:]):
        path.write_bytes(content)
        with pytest.raises(UnusableInputError, match=r"a\.npz: cannot be read as probabilities of nnU-Net"):
            read_lesion_probability(path, (30, 40))
    with pytest.raises(UnusableInputError, match='expected an array "probabilities"'):
        read_lesion_probability(save(tmp_path / "b.npz", np.ones(3), "softmax"), (30, 40))
    np.save(tmp_path / "c.npy", np.ones(3))
    (tmp_path / "c.npy").rename(tmp_path / "c.npz")
    with pytest.raises(UnusableInputError, match=r"c\.npz"):
        read_lesion_probability(tmp_path / "c.npz", (30, 40))


def test_an_archive_of_objects_is_never_unpickled(tmp_path: Path) -> None:
    with pytest.raises(UnusableInputError, match="cannot be read as probabilities"):
        read_lesion_probability(save(tmp_path / "a.npz", np.array([{}], dtype=object)), (3, 4))


def test_confidence_is_the_highest_or_mean_probability_of_the_lesions_pixels(blobs: Callable[..., NDArray]) -> None:
    rng = np.random.default_rng(1)
    labels, number = connected_components(blobs(rng))
    probability = rng.random(labels.shape).astype(np.float32)
    index = np.arange(1, number + 1)
    assert lesion_confidence(labels, number, probability) == pytest.approx(ndimage.maximum(probability, labels, index))
    assert lesion_confidence(labels, number, probability, "mean") == pytest.approx(ndimage.mean(probability, labels, index))
    assert lesion_confidence(np.zeros_like(labels), 0, probability).shape == (0,)


def test_nnunets_own_export_is_read_in_the_pixel_order_of_its_mask(tmp_path: Path) -> None:
    """nnU-Net exports logits with its own code: a transposed plan must come back in the order of the mask file."""
    import torch
    from nnunetv2.inference.export_prediction import export_prediction_from_logits
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from evaluation.cases import read_image

    shape, order = (4, 6, 5), [2, 0, 1]
    resample = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    plans = PlansManager(
        {
            "dataset_name": "Dataset901_X",
            "plans_name": "nnUNetPlans",
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": order,
            "transpose_backward": np.argsort(order).tolist(),
            "label_manager": "LabelManager",
            "configurations": {
                "3d_fullres": {
                    "architecture": {},
                    "spacing": [1.0, 1.0, 1.0],
                    "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                    "resampling_fn_probabilities_kwargs": resample,
                }
            },
        }
    )
    logits = np.random.default_rng(0).normal(0, 3, (2, *(shape[axis] for axis in order))).astype(np.float32)
    properties = {
        "spacing": (1.0, 1.0, 1.0),
        "shape_after_cropping_and_before_resampling": logits.shape[1:],
        "shape_before_cropping": logits.shape[1:],
        "bbox_used_for_cropping": [[0, n] for n in logits.shape[1:]],
        "sitk_stuff": {"spacing": (1.0, 1.0, 1.0), "origin": (0.0, 0.0, 0.0), "direction": tuple(np.eye(3).ravel())},
    }
    dataset = {"labels": {"background": 0, "metastasis": 1}, "file_ending": ".nii.gz", "channel_names": {"0": "counts"}}
    (tmp_path / "dataset.json").write_text(json.dumps(dataset))
    export_prediction_from_logits(
        torch.from_numpy(logits), properties, plans.get_configuration("3d_fullres"), plans, dataset, str(tmp_path / "a"),
        save_probabilities=True, num_threads_torch=1,
    )  # fmt: skip
    mask, _ = read_image(tmp_path / "a.nii.gz")
    probability = read_lesion_probability(tmp_path / "a.npz", shape)
    assert mask.shape == shape
    assert ((probability > 0.5) == (mask == 1)).all()
    assert 0.2 < mask.mean() < 0.8
