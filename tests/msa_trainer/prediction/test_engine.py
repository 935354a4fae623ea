"""The oracle is nnU-Net's own predictor, given the same folder and the same pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from dataset_conversion.network_input import network_input
from msa_trainer.environment import EXTERNAL_TRAINERS, TRAINER_FOLDER, WORKERS, usable_cores
from msa_trainer.prediction import processor
from msa_trainer.prediction.engine import Engine
from msa_trainer.prediction.model import load_model

SPACING = (2.26, 2.26)
# The logits are nnU-Net's bit by bit, in half precision, where one bit is a thousandfold; softmax rounds by number of threads.
LAST_BIT = 2.5e-7
WriteModel = Callable[..., Path]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net's predictor looks our trainers up in a variable, the engine does not; several threads would only wait here."""
    monkeypatch.setenv(EXTERNAL_TRAINERS, str(TRAINER_FOLDER))
    monkeypatch.setenv(WORKERS, "1")


def image(shape: tuple[int, int], channels: str = "zscore", n: int = 1, seed: int = 0) -> np.ndarray:
    counts = np.random.default_rng(seed).poisson(3, (n, *shape))
    return np.stack([network_input(one, channels) for one in counts])  # type: ignore[arg-type]


def by_nnunet(
    folder: Path, pixels: np.ndarray, spacing: tuple[float, float] = SPACING, folds: Any = (0,), mirroring: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Mask and probabilities as nnUNetPredictor.predict_single_npy_array makes them, but on no more threads than there are."""
    predictor = nnUNetPredictor(use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), folds)
    torch.set_num_threads(processor.threads())
    exact = [float(np.float32(mm)) for mm in spacing]
    properties: dict[str, Any] = {"spacing": [999 * max(exact), *exact]}
    if predictor.dataset_json["file_ending"] == ".png":
        properties = {"spacing": [999, 1, 1]}
    plans, configuration = predictor.plans_manager, predictor.configuration_manager
    preprocessor = configuration.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case_npy(
        pixels[:, None], None, properties, plans, configuration, predictor.dataset_json
    )
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data)).numpy()
    mask, (_, probabilities) = (
        convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, plans, configuration, predictor.label_manager, properties, with_probabilities, processor.threads()
        )
        for with_probabilities in (False, True)
    )
    return mask[0], probabilities[:, 0]


@pytest.mark.parametrize("shape", [(64, 48), (100, 70), (40, 20), (130, 48)])
def test_masks_and_probabilities_are_nnunets_bit_by_bit_in_one_tile_several_or_a_padded_one(
    write_model: WriteModel, shape: tuple[int, int]
) -> None:
    folder, pixels = write_model(), image(shape)
    (answer,) = Engine(load_model(folder)).predict([pixels], SPACING)
    mask, probabilities = by_nnunet(folder, pixels)
    assert 0 < mask.mean() < 1
    np.testing.assert_array_equal(answer.mask, mask)
    np.testing.assert_allclose(answer.probabilities, probabilities, atol=LAST_BIT)
    assert (answer.mask.dtype, answer.mask.shape) == (np.uint8, shape)
    assert (answer.probabilities.dtype, answer.probabilities.shape) == (np.float32, (2, *shape))


@pytest.mark.parametrize("spacing", [(2.26, 2.26), (2.0, 2.6), (1.5, 1.5)])
def test_a_scan_of_another_pixel_size_is_resampled_as_by_nnunet(write_model: WriteModel, spacing: tuple[float, float]) -> None:
    folder, pixels = write_model(), image((90, 50))
    (answer,) = Engine(load_model(folder)).predict([pixels], spacing)
    np.testing.assert_array_equal(answer.mask, by_nnunet(folder, pixels, spacing)[0])


@pytest.mark.parametrize(
    ("trainer", "options"),
    [
        ("MSATrainer", {"channels": "counts", "views": "paired"}),
        ("MSATrainer", {"channels": "anscombe", "labels": {"background": 0, "metastasis": 1, "benign": 2}}),
        ("MSATrainer", {"mirror": ()}),
        ("MSATrainer", {"ending": ".png"}),
        ("MSATrainerStockNetwork", {"channels": "counts"}),
        ("nnUNetTrainer", {"mirror": (0, 1)}),
        ("nnUNetTrainerNoMirroring", {"mirror": ()}),
    ],
)
def test_every_kind_of_model_gives_nnunets_masks(write_model: WriteModel, trainer: str, options: dict[str, Any]) -> None:
    folder = write_model(trainer=trainer, **options)
    pixels = image((70, 40), options.get("channels", "zscore"), 2 if "views" in options else 1)
    (answer,) = Engine(load_model(folder)).predict([pixels], SPACING)
    mask, probabilities = by_nnunet(folder, pixels)
    assert len(np.unique(mask)) > 1
    np.testing.assert_array_equal(answer.mask, mask)
    np.testing.assert_allclose(answer.probabilities, probabilities, atol=LAST_BIT)


def test_on_several_threads_the_masks_are_nnunets_as_well(write_model: WriteModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKERS, "2")
    folder, pixels = write_model(), image((64, 32))
    (answer,) = Engine(load_model(folder)).predict([pixels], SPACING)
    assert torch.get_num_threads() == min(2, usable_cores())
    np.testing.assert_array_equal(answer.mask, by_nnunet(folder, pixels)[0])


def test_folds_are_averaged_as_nnunet_averages_them(write_model: WriteModel) -> None:
    folder, pixels = write_model(folds=(0, 1, 2)), image((64, 32))
    answers = {folds: Engine(load_model(folder, folds)).predict([pixels], SPACING)[0] for folds in (None, (2, 0), (1,))}
    for folds, answer in answers.items():
        expected = by_nnunet(folder, pixels, folds=folds or (0, 1, 2))[1]
        np.testing.assert_allclose(answer.probabilities, expected, atol=LAST_BIT)
    assert not np.array_equal(answers[None].mask, answers[(1,)].mask)


def test_without_mirroring_the_masks_are_those_of_disable_tta(write_model: WriteModel) -> None:
    folder, pixels = write_model(mirror=(0, 1)), image((64, 32))
    plain, mirrored = (Engine(load_model(folder), mirroring).predict([pixels], SPACING)[0] for mirroring in (False, True))
    np.testing.assert_allclose(plain.probabilities, by_nnunet(folder, pixels, mirroring=False)[1], atol=LAST_BIT)
    assert not np.array_equal(plain.mask, mirrored.mask)


def test_pixels_that_nnunet_crops_come_back_as_certain_background(write_model: WriteModel) -> None:
    folder, pixels = write_model(), image((90, 60))
    pixels[:, :20] = pixels[:, :, -15:] = 0
    (answer,) = Engine(load_model(folder)).predict([pixels], SPACING)
    np.testing.assert_array_equal(answer.mask, by_nnunet(folder, pixels)[0])
    assert (answer.probabilities[0, :20] == 1).all()
    assert (answer.mask[:20] == 0).all()


def test_images_are_answered_in_their_order_and_left_as_they_were(write_model: WriteModel) -> None:
    engine = Engine(load_model(write_model()))
    images = [image((64, 32), seed=seed) for seed in range(3)]
    before = [one.copy() for one in images]
    answers = engine.predict(images, SPACING)
    for one, kept, answer in zip(images, before, answers, strict=True):
        np.testing.assert_array_equal(one, kept)
        np.testing.assert_array_equal(answer.mask, engine.predict([one], SPACING)[0].mask)
    assert not np.array_equal(answers[0].mask, answers[1].mask)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 5)])
@pytest.mark.parametrize("value", [1.0, 0.0])
def test_an_image_of_hardly_a_pixel_or_without_counts_is_answered(
    write_model: WriteModel, shape: tuple[int, int], value: float
) -> None:
    (answer,) = Engine(load_model(write_model())).predict([np.full((1, *shape), value, np.float32)], SPACING)
    assert answer.mask.shape == shape
    assert np.isfinite(answer.probabilities).all()


@pytest.mark.parametrize("shape", [(2, 64, 32), (64, 32), (1, 0, 32)])
def test_an_image_of_another_shape_is_refused(write_model: WriteModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"image 0 is .* expected \(1, rows, columns\)"):
        Engine(load_model(write_model())).predict([np.ones(shape, np.float32)], SPACING)


def test_the_description_names_what_decides_the_masks_and_no_path(write_model: WriteModel, tmp_path: Path) -> None:
    described = Engine(load_model(write_model(folds=(0, 1)), (1,))).description()
    assert described["trainer"] == "MSATrainer"
    assert described["folds"] == ["1"]
    assert described["mirrored_axes"] == [1]
    assert str(tmp_path) not in str(described)
