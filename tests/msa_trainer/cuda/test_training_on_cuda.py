"""MSATrainer on a CUDA device: near the CPU's steps, overflows survived, compiled, resumed, and read on a CPU.

Run by `make cuda` where there is a GPU; no other test needs one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from msa_trainer import epoch_log
from msa_trainer.levers import Levers
from msa_trainer.variants import MSATrainer, MSATrainerStockNetwork

NEAR = 0.02  # relative: half precision has 11 bits, and a step sums over thousands of products


class FromTheStart(MSATrainer):
    """The adversary at its full weight in every epoch."""

    recipe = replace(MSATrainer.recipe, start=0.0, ramp=0.0)


class StockNetwork(FromTheStart, MSATrainerStockNetwork):
    pass


class WithLevers(FromTheStart):
    levers = Levers(lesion_loss=0.2, optimizer="adamw", average=0.9)


@pytest.fixture(autouse=True)
def _seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSA_SEED", "3")
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_compile", "f")


def losses(trainer: Any, steps: int) -> list[float]:
    """Losses of the first steps of the first epoch, on batches of the trainer's own loader."""
    trainer.on_train_start()
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    return [float(trainer.train_step(next(trainer.dataloader_train))["loss"]) for _ in range(steps)]


@pytest.mark.parametrize("trainer_class", [FromTheStart, StockNetwork, WithLevers])
def test_steps_in_mixed_precision_are_near_the_cpus(make_trainer: Callable[..., Any], trainer_class: type) -> None:
    on_cpu, on_gpu = (losses(make_trainer(trainer_class, device=name), 8) for name in ("cpu", "cuda"))
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=NEAR)


def test_the_counts_stem_is_near_the_cpus(make_trainer: Callable[..., Any]) -> None:
    on_cpu, on_gpu = (losses(make_trainer(FromTheStart, device=name, counts=True), 8) for name in ("cpu", "cuda"))
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=NEAR)


def test_both_players_move_and_the_log_has_finite_figures_of_them(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(FromTheStart, device="cuda", epochs=2, steps=4)
    trainer.initialize()
    players = {"generator": trainer.network, "discriminator": trainer.adversary.discriminator}
    before = {name: [p.detach().clone() for p in player.parameters()] for name, player in players.items()}
    trainer.run_training()
    for name, player in players.items():
        moved = [not torch.equal(old, new) for old, new in zip(before[name], player.parameters(), strict=True)]
        assert any(moved), f"the {name} stood still"
    rows = trainer._rows
    assert np.isfinite(rows[epoch_log.ADVERSARIAL]).all()
    assert rows[epoch_log.DROPPED] == [0, 0]


def test_an_overflow_costs_one_step_of_the_generator_and_halves_the_scale(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(FromTheStart, device="cuda")
    losses(trainer, 1)
    trainer.grad_scaler = torch.amp.GradScaler("cuda", init_scale=2.0**40)
    before = [p.detach().clone() for p in trainer.network.parameters()]
    trainer.train_step(next(trainer.dataloader_train))
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.network.parameters(), strict=True))
    assert trainer.grad_scaler.get_scale() == 2.0**39
    for _ in range(40):
        trainer.train_step(next(trainer.dataloader_train))
    assert not torch.equal(before[0], next(trainer.network.parameters()))
    for player in (trainer.network, trainer.adversary.discriminator):
        assert all(bool(torch.isfinite(p).all()) for p in player.parameters())


def test_an_interrupted_run_goes_on_near_an_uninterrupted_one(make_trainer: Callable[..., Any]) -> None:
    def fresh() -> Any:
        return make_trainer(FromTheStart, device="cuda", epochs=3, steps=4, save_every=1)

    whole, stopped, resumed = fresh(), fresh(), fresh()
    whole.run_training()
    _run_epochs(stopped, 2)
    resumed.load_checkpoint(str(Path(stopped.output_folder) / "checkpoint_latest.pth"))
    assert resumed.current_epoch == 2
    resumed.run_training()
    ends = [trainer._rows["train_losses"] for trainer in (whole, resumed)]
    np.testing.assert_allclose(ends[1], ends[0], rtol=NEAR)


def _run_epochs(trainer: Any, number: int) -> None:
    """The first epochs of run_training, and no end of training."""
    trainer.on_train_start()
    for _ in range(number):
        trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        steps = range(trainer.num_iterations_per_epoch)
        trainer.on_train_epoch_end([trainer.train_step(next(trainer.dataloader_train)) for _ in steps])
        with torch.no_grad():
            trainer.on_validation_epoch_start()
            trainer.on_validation_epoch_end([trainer.validation_step(next(trainer.dataloader_val))])
        trainer.on_epoch_end()


@pytest.mark.parametrize("compiled", [False, True])
def test_a_network_trained_on_the_gpu_predicts_the_same_on_a_cpu(
    make_trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    if compiled:
        monkeypatch.setenv("nnUNet_compile", "t")
    trainer = make_trainer(FromTheStart, device="cuda", epochs=2, steps=10)
    trainer.initialize()
    assert hasattr(trainer.network, "_orig_mod") == compiled
    trainer.run_training()
    monkeypatch.setenv("nnUNet_compile", "f")
    image = torch.randn(1, 1, 96, 80, generator=torch.Generator().manual_seed(1))
    found = []
    for device in ("cuda", "cpu"):
        reader = make_trainer(FromTheStart, device=device)
        reader.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
        reader.set_deep_supervision_enabled(False)
        predictor = nnUNetPredictor(perform_everything_on_device=True, device=torch.device(device), allow_tqdm=False)
        predictor.manual_initialization(
            reader.network, reader.plans_manager, reader.configuration_manager, None, reader.dataset_json, "tiny", (1,)
        )
        with torch.inference_mode():
            found.append(torch.softmax(predictor.predict_sliding_window_return_logits(image).float().cpu(), 0)[1])
    torch.testing.assert_close(*found, atol=0.02, rtol=0)
