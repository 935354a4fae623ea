"""The average against its definition spelt out; it validates, is saved and predicts, and the raw weights resume bit-equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from msa_trainer import variants
from msa_trainer.checkpoint import KEY
from msa_trainer.levers.averaging import WeightAverage
from msa_trainer.variants import MSATrainer


class Averaged(MSATrainer):
    levers = replace(MSATrainer.levers, optimizer="adamw", average=0.8)
    recipe = replace(MSATrainer.recipe, start=0.0, ramp=0.0)


class EveryLoss(Averaged):
    levers = replace(Averaged.levers, lesion_loss=0.3)


class StockNetworkAveraged(variants.MSATrainerStockNetwork):
    """Its state dictionary names every encoder weight twice."""

    levers = replace(MSATrainer.levers, average=0.8)


def copied(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_the_average_is_its_definition_step_by_step(same: Callable[[Any, Any], bool], decay: float) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    average = WeightAverage(network, decay)
    average.follow(optimizer)
    expected: dict[str, np.ndarray] = {}
    for step in range(40):
        optimizer.zero_grad()
        network(torch.randn(5, 3)).pow(2).mean().backward()
        optimizer.step()
        d = min(decay, step / (9 + step))
        weights = {name: tensor.numpy().astype(float) for name, tensor in copied(network).items()}
        expected = {name: d * expected.get(name, 0) + (1 - d) * w for name, w in weights.items()}
    raw = copied(network)
    with average.shown():
        for name, tensor in network.state_dict().items():
            assert np.allclose(tensor.numpy(), expected[name], atol=1e-6)
            assert not torch.equal(tensor, raw[name])
    assert same(copied(network), raw)


def test_without_the_lever_there_is_no_average(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(MSATrainer, epochs=1)
    trainer.run_training()
    assert trainer.average is None
    assert not trainer.optimizer._optimizer_step_post_hooks
    saved = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=True)
    assert "average" not in saved[KEY]


@pytest.mark.parametrize("trainer_class", [Averaged, StockNetworkAveraged])
def test_the_average_validates_and_is_saved_and_the_raw_weights_go_on(
    same: Callable[[Any, Any], bool], make_trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, trainer_class: type
) -> None:
    monkeypatch.setenv("MSA_SEED", "2")
    trainer = make_trainer(trainer_class, epochs=2, steps=4)
    seen: dict[str, list[dict[str, torch.Tensor]]] = {"train": [], "validate": []}
    train, validate = trainer.train_step, trainer.validation_step

    def train_step(batch: Any) -> Any:
        result = train(batch)
        seen["train"].append(copied(trainer.network))
        return result

    def validation_step(batch: Any) -> Any:
        seen["validate"].append(copied(trainer.network))
        return validate(batch)

    trainer.train_step, trainer.validation_step = train_step, validation_step
    trainer.run_training()
    expected: dict[str, torch.Tensor] = {}
    shown = []
    for step, weights in enumerate(seen["train"]):
        d = min(0.8, step / (9 + step))
        expected = {name: d * expected.get(name, 0) + (1 - d) * w for name, w in weights.items()}
        if step % 4 == 3:
            shown.append(expected)
    assert len(seen["validate"]) == len(shown) == 2
    saved = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=True)
    for found, right in [*zip(seen["validate"], shown, strict=True), (saved["network_weights"], shown[-1])]:
        assert found.keys() == right.keys()
        assert all(torch.allclose(found[name], right[name], atol=1e-6) for name in right)
    raw = seen["train"][-1]
    assert not same(saved["network_weights"], raw)
    assert saved[KEY]["average"]["steps"] == 8
    assert all(torch.equal(tensor, raw[name]) for name, tensor in saved[KEY]["average"]["raw"].items())
    assert same(copied(trainer.network), raw), "the raw weights were not put back"


def test_stock_nnunet_loads_the_checkpoint_and_has_the_average(
    same: Callable[[Any, Any], bool], make_trainer: Callable[..., Any]
) -> None:
    trainer = make_trainer(Averaged, epochs=2)
    trainer.run_training()
    file = Path(trainer.output_folder) / "checkpoint_final.pth"
    saved = torch.load(file, weights_only=False)
    stock = make_trainer(variants.MSATrainerNoAdversary)
    stock.initialize()
    stock.configure_optimizers = None
    stock.optimizer = torch.optim.AdamW(stock.network.parameters())
    nnUNetTrainer.load_checkpoint(stock, str(file))
    image = torch.randn(1, 1, 64, 64)
    stock.network.eval()
    trainer.network.eval()
    with torch.no_grad():
        raw = trainer.network(image)[0]
        with trainer.average.shown():
            average = trainer.network(image)[0]
        assert torch.equal(stock.network(image)[0], average)
    assert not torch.equal(raw, average)
    assert same(copied(stock.network), saved["network_weights"])


def test_the_final_validation_predicts_with_the_average(
    same: Callable[[Any, Any], bool], make_trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(Averaged, epochs=1)
    trainer.run_training()
    raw, predicting = copied(trainer.network), []
    monkeypatch.setattr(
        nnUNetTrainer, "perform_actual_validation", lambda self, _: predicting.append(copied(self.network))
    )  # nnU-Net's own starts processes and predicts whole cases: the e2e tests have it
    trainer.perform_actual_validation()
    saved = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=True)
    assert same(predicting, [saved["network_weights"]])
    assert same(copied(trainer.network), raw)


def test_a_resumed_run_with_adamw_average_and_lesion_loss_ends_bit_equal_to_an_uninterrupted_one(
    same: Callable[[Any, Any], bool], make_trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MSA_SEED", "5")
    whole = make_trainer(EveryLoss)
    whole.run_training()
    uninterrupted = torch.load(Path(whole.output_folder) / "checkpoint_final.pth", weights_only=True)

    class KilledError(Exception):
        pass

    folder = tmp_path / "resumed"
    where = {"output_folder": str(folder / "fold_0"), "output_folder_base": str(folder)}
    (folder / "fold_0").mkdir(parents=True)
    first = make_trainer(EveryLoss, save_every=1, **where)
    steps = first.train_step

    def dies_in_epoch_two(batch: dict[str, Any]) -> Any:
        if first.current_epoch == 2:
            raise KilledError
        return steps(batch)

    first.train_step = dies_in_epoch_two
    with pytest.raises(KilledError):
        first.run_training()
    second = make_trainer(EveryLoss, **where)
    second.load_checkpoint(str(folder / "fold_0" / "checkpoint_latest.pth"))
    assert second.current_epoch == 2
    second.run_training()
    resumed = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=True)
    for part in ("network_weights", "optimizer_state", KEY, "_best_ema", "current_epoch"):
        assert same(uninterrupted[part], resumed[part]), f"{part} differs after the resume"
    for name, row in uninterrupted["logging"].items():
        assert "timestamps" in name or same(row, resumed["logging"][name]), f"the log's {name} differs after the resume"


def test_an_average_begins_with_the_weights_of_a_checkpoint_that_has_none(
    same: Callable[[Any, Any], bool], make_trainer: Callable[..., Any], tmp_path: Path
) -> None:
    trainer = make_trainer(Averaged, epochs=1)
    trainer.run_training()
    saved = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=False)
    del saved[KEY]["average"]
    torch.save(saved, tmp_path / "none.pth")
    resumed = make_trainer(Averaged)
    resumed.load_checkpoint(str(tmp_path / "none.pth"))
    with resumed.average.shown():
        assert same(copied(resumed.network), saved["network_weights"])
    assert resumed.average.steps == 0
