"""The opposite view is emptied with its probability, and the network cannot tell how."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from msa_trainer.counts_stem import CountsStem
from msa_trainer.levers import Levers
from msa_trainer.levers.loading import _change_images
from msa_trainer.levers.opposite_view import OppositeDropout
from msa_trainer.preflight import check_levers
from msa_trainer.refusal import Refusal
from msa_trainer.seeding import seed_everything
from msa_trainer.trainer import MSATrainer


def test_the_second_half_of_the_channels_is_emptied_and_nothing_else() -> None:
    image = torch.rand(3, 8, 8) + 1  # view, opposite view, a cascade's mask
    labels = torch.ones(1, 8, 8, dtype=torch.int16)
    made = OppositeDropout(1.0, channels=2)(image=image.clone(), segmentation=labels.clone())
    assert torch.equal(made["image"][0], image[0])
    assert not made["image"][1].any()
    assert torch.equal(made["image"][2], image[2])
    assert torch.equal(made["segmentation"], labels)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_it_is_emptied_as_often_as_the_lever_says(probability: float) -> None:
    seed_everything(0)
    dropout = OppositeDropout(probability, channels=2)
    emptied = sum(not dropout(image=torch.ones(2, 4, 4))["image"][1].any() for _ in range(1000))
    assert abs(emptied / 1000 - probability) <= 0.05 * (0 < probability < 1)


def test_an_emptied_channel_of_counts_is_0_behind_the_first_layer_as_one_after_a_z_score_is() -> None:
    counts = torch.poisson(torch.full((1, 2, 64, 64), 9.0))
    counts[0] = OppositeDropout(1.0, channels=2)(image=counts[0])["image"]
    seen = CountsStem(2)(counts)
    assert seen[0, 1].abs().max() < 0.01
    assert seen[0, 0].std() == pytest.approx(1, abs=0.01)


def test_the_training_pipeline_ends_with_it_and_targets_stay() -> None:
    seed_everything(1)
    pipeline = MSATrainer.get_training_transforms((32, 32), (-0.2, 0.2), [[1, 1], [0.5, 0.5]], (1,), False)
    plan = SimpleNamespace(normalization_schemes=["ZScoreNormalization"] * 2, spacing=(2.0, 2.0))
    _change_images(pipeline, Levers(opposite_dropout=1.0), plan)
    made = pipeline(image=torch.rand(2, 40, 40), segmentation=torch.ones(1, 40, 40, dtype=torch.int16))
    assert not made["image"][1].any()
    assert made["image"][0].any()
    assert [tuple(target.shape) for target in made["segmentation"]] == [(1, 32, 32), (1, 16, 16)]


@pytest.mark.parametrize(
    ("views", "channels", "refused"), [("paired", 2, False), ("single", 1, True), (None, 2, True), ("paired", 1, True)]
)
def test_it_is_refused_where_no_channel_is_the_opposite_view(views: str | None, channels: int, refused: bool) -> None:
    dataset, schemes = {"msa": {"views": views}}, ["ZScoreNormalization"] * channels
    if not refused:
        check_levers(Levers(opposite_dropout=0.2), schemes, dataset)
        return
    with pytest.raises(Refusal, match=f"{views!r} as msa.views and {channels} channel.*--views paired"):
        check_levers(Levers(opposite_dropout=0.2), schemes, dataset)
