"""MSATrainer against stock nnU-Net: equal steps at weight 0, bit-equal resumes, checkpoints that stay stock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch.nn.functional import max_pool2d

from msa_trainer import variants
from msa_trainer.checkpoint import KEY
from msa_trainer.counts_stem import CountsStem
from msa_trainer.generator import MSAGenerator, stages_from_plan
from msa_trainer.levers import Levers
from msa_trainer.refusal import Refusal
from msa_trainer.variants import MSATrainer

TIMES = ("epoch_start_timestamps", "epoch_end_timestamps")


class PlainTrainer(nnUNetTrainer):
    """Stock nnU-Net with our network and nothing else of ours: the oracle for weight 0."""

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):  # noqa: B008
        super().__init__(plans, configuration, fold, dataset_json, device)

    @staticmethod
    def build_network_architecture(
        plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision=True
    ):
        stages = stages_from_plan(configuration_manager.network_arch_init_kwargs, configuration_manager.patch_size)
        stem = CountsStem(1) if configuration_manager.normalization_schemes == ["NoNormalization"] else None
        return MSAGenerator(stages, num_input_channels, num_output_channels, enable_deep_supervision, stem)

    def _get_deep_supervision_scales(self):
        return [[1.0, 1.0], [0.5, 0.5]]


class NeverStarts(MSATrainer):
    """An adversary that exists and whose weight stays 0, and nothing else that nnU-Net has not."""

    levers = Levers()
    recipe = replace(MSATrainer.recipe, weight=0.0)


class Alone(variants.MSATrainerNoAdversary):
    """The generator, and nothing else that nnU-Net has not."""

    levers = Levers()


class FromTheStart(MSATrainer):
    """The adversary at its full weight in every epoch, without levers."""

    recipe = replace(MSATrainer.recipe, start=0.0, ramp=0.0)
    levers = Levers()


class Whole(FromTheStart):
    """With MSATrainer's levers too."""

    levers = MSATrainer.levers


class StockNetwork(variants.MSATrainerStockNetwork):
    levers = Levers()


def _must_not_be_asked(*_: Any) -> None:
    raise AssertionError("the discriminator was asked although its weight is 0")


def batches(number: int, poisson: bool = False) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(7)
    made = []
    for _ in range(number):
        target = (torch.rand(2, 1, 64, 64, generator=generator) > 0.97).to(torch.int16)
        data = torch.randn(2, 1, 64, 64, generator=generator) + 3 * target
        if poisson:
            data = torch.poisson(5.0 + 20 * target, generator=generator)
        made.append({"data": data, "target": [target, max_pool2d(target.float(), 2).to(torch.int16)]})
    return made


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("trainer_class", [NeverStarts, Alone])
def test_weight_zero_is_a_plain_nnunet_trainer_bit_for_bit_over_20_steps(
    same: Callable[[Any, Any], bool], make_trainer: Callable[..., Any], trainer_class: type, counts: bool
) -> None:
    results = []
    for build in (PlainTrainer, trainer_class):
        torch.manual_seed(11)
        trainer = make_trainer(build, counts=counts)
        trainer.initialize()
        if trainer_class is NeverStarts and build is trainer_class:  # weight 0 builds no graph: nobody asks the discriminator
            trainer.adversary.discriminator.register_forward_pre_hook(_must_not_be_asked)
        trainer.set_deep_supervision_enabled(True)
        if build is not PlainTrainer:
            trainer.on_epoch_start()
        trainer.network.train()
        made = batches(20, poisson=counts)
        losses = [trainer.train_step(batch)["loss"] for batch in made]
        results.append((np.array(losses), trainer.network.state_dict(), trainer.optimizer.state_dict(), torch.get_rng_state()))
    (plain_losses, *plain), (our_losses, *ours) = results
    assert np.array_equal(plain_losses, our_losses)
    assert same(plain[0], ours[0])
    assert same(plain[1], ours[1])
    assert torch.equal(plain[2], ours[2]), "the adversary moved the generator's random stream"


def test_the_adversary_changes_the_generators_steps_once_its_weight_is_on(
    same: Callable[[Any, Any], bool], make_trainer: Callable[..., Any]
) -> None:
    weights = []
    for build in (NeverStarts, FromTheStart):
        torch.manual_seed(11)
        trainer = make_trainer(build)
        trainer.initialize()
        trainer.on_epoch_start()
        before = {name: tensor.clone() for name, tensor in trainer.adversary.discriminator.named_parameters()}
        for batch in batches(3):
            trainer.train_step(batch)
        moved = any(not torch.equal(before[name], p) for name, p in trainer.adversary.discriminator.named_parameters())
        assert moved == (build is FromTheStart)
        weights.append(trainer.network.state_dict())
    assert not same(*weights)


def test_each_optimiser_holds_one_players_weights_and_moves_no_others(
    same: Callable[[Any, Any], bool], make_trainer: Callable[..., Any]
) -> None:
    trainer = make_trainer(FromTheStart)
    trainer.initialize()
    trainer.on_epoch_start()
    networks = {"generator": trainer.network, "discriminator": trainer.adversary.discriminator}
    (batch,) = batches(1)
    output = trainer.network(batch["data"])
    loss = trainer.loss(output, batch["target"])
    (loss + trainer.adversary.term(output[0], batch["target"][0], batch["data"])).backward()
    for stepped, step in (("generator", trainer.optimizer.step), ("discriminator", trainer.adversary.step)):
        before = {name: [p.detach().clone() for p in network.parameters()] for name, network in networks.items()}
        step()
        for name, network in networks.items():
            assert same(before[name], list(network.parameters())) == (name != stepped), f"{name} after the {stepped}'s step"


@pytest.mark.parametrize("trainer_class", [FromTheStart, StockNetwork])
def test_network_and_discriminator_see_counts_through_the_first_layer(
    make_trainer: Callable[..., Any], trainer_class: type
) -> None:
    trainer = make_trainer(trainer_class, counts=True)
    trainer.initialize()
    trainer.on_epoch_start()
    trainer.adversary.scheduled_weight = 0.1  # also before the stock network's schedule starts
    pairs = []
    trainer.adversary.discriminator.register_forward_pre_hook(lambda _, inputs: pairs.append(inputs[0].detach()))
    (batch,) = batches(1, poisson=True)
    with torch.no_grad():  # the square root of 4 n + 9/8 + 3/8 is twice that of n + 3/8, which standardisation takes out
        of_counts, of_others = (trainer.network(data)[0] for data in (batch["data"], 4 * batch["data"] + 9 / 8))
    assert torch.allclose(of_counts, of_others, atol=1e-3)
    if trainer_class is not FromTheStart:  # as many scales as the stock network has heads
        batch["target"] = [max_pool2d(batch["target"][0].float(), 2**i).to(torch.int16) for i in range(4)]
    trainer.train_step(batch)
    roots = 2 * np.sqrt(batch["data"].numpy().astype(float) + 0.375)
    z = (roots - roots.mean((2, 3), keepdims=True)) / roots.std((2, 3), keepdims=True)
    reference = batch["target"][0].numpy()
    assert np.allclose(pairs[0][2:, 1:].numpy(), reference / (1 + np.exp(-z)), atol=1e-4)


def test_an_interrupted_and_resumed_run_ends_bit_equal_to_an_uninterrupted_one(
    same: Callable[[Any, Any], bool], make_trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MSA_SEED", "5")
    whole = make_trainer(Whole, epochs=4)
    whole.run_training()
    uninterrupted = torch.load(Path(whole.output_folder) / "checkpoint_final.pth", weights_only=True)

    class KilledError(Exception):
        pass

    monkeypatch.setenv("nnUNet_results", str(tmp_path / "resumed"))
    first = make_trainer(Whole, epochs=4, save_every=2)
    first.output_folder = str(tmp_path / "resumed" / "fold_0")
    first.output_folder_base = str(tmp_path / "resumed")
    Path(first.output_folder).mkdir(parents=True)
    steps = first.train_step

    def dies_in_epoch_three(batch: dict[str, Any]) -> dict[str, Any]:
        if first.current_epoch == 3:
            raise KilledError
        result: dict[str, Any] = steps(batch)
        return result

    first.train_step = dies_in_epoch_three
    with pytest.raises(KilledError):
        first.run_training()

    second = make_trainer(Whole, epochs=4, output_folder=first.output_folder, output_folder_base=first.output_folder_base)
    second.load_checkpoint(str(Path(first.output_folder) / "checkpoint_latest.pth"))
    assert second.current_epoch == 2
    second.run_training()
    resumed = torch.load(Path(second.output_folder) / "checkpoint_final.pth", weights_only=True)
    for part in ("network_weights", "optimizer_state", KEY, "_best_ema", "current_epoch"):
        assert same(uninterrupted[part], resumed[part]), f"{part} differs after the resume"
    for name, row in uninterrupted["logging"].items():
        assert name in TIMES or same(row, resumed["logging"][name]), f"the log's {name} differs after the resume"


def test_two_seeds_give_two_networks(
    same: Callable[[Any, Any], bool], make_trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = []
    for seed in ("1", "2", "1"):
        monkeypatch.setenv("MSA_SEED", seed)
        trainer = make_trainer(MSATrainer)
        trainer.initialize()
        weights.append((trainer.network.state_dict(), trainer.adversary.discriminator.state_dict()))
    assert same(weights[0], weights[2])
    assert not same(weights[0][0], weights[1][0])
    assert not same(weights[0][1], weights[1][1])


def test_a_stock_checkpoint_without_our_key_resumes_with_a_fresh_discriminator(
    make_trainer: Callable[..., Any], tmp_path: Path
) -> None:
    trainer = make_trainer(Whole, epochs=2)
    trainer.run_training()
    saved = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=False)
    del saved[KEY]
    saved["logging"] = {name: row for name, row in saved["logging"].items() if not name.startswith("msa_")}
    torch.save(saved, tmp_path / "stock.pth")
    resumed = make_trainer(Whole, epochs=3)
    resumed.load_checkpoint(str(tmp_path / "stock.pth"))
    resumed.run_training()
    rows = resumed.logger.get_checkpoint()
    assert {len(row) for row in rows.values()} == {3}
    assert math.isnan(rows["msa_adversarial"][1])
    assert 0 < rows["msa_adversarial"][2] <= 2


def test_a_checkpoint_predicts_with_the_network_built_without_deep_supervision(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(MSATrainer)
    trainer.initialize()
    network = trainer.build_network_architecture(
        trainer.plans_manager, trainer.configuration_manager, 1, 2, enable_deep_supervision=False
    )
    network.load_state_dict(trainer.network.state_dict())
    network.eval()
    trainer.network.eval()
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(image), trainer.network(image)[0])


@pytest.mark.parametrize(
    ("saved", "loading"), [(variants.MSATrainerStockNetwork, MSATrainer), (MSATrainer, variants.MSATrainerStockNetwork)]
)
def test_a_checkpoint_of_another_architecture_is_refused_in_one_sentence(
    make_trainer: Callable[..., Any], saved: type, loading: type
) -> None:
    other = make_trainer(saved, epochs=1)
    other.run_training()
    trainer = make_trainer(loading)
    with pytest.raises(Refusal, match=r"another architecture.*-tr"):
        trainer.load_checkpoint(str(Path(other.output_folder) / "checkpoint_final.pth"))


def test_every_logged_value_is_a_plain_float_or_a_list_of_them(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(Whole, epochs=2)
    trainer.run_training()
    for name, row in trainer.logger.get_checkpoint().items():
        assert len(row) == 2, name
        assert all(type(value) in (float, list) for value in row), name
    assert (Path(trainer.output_folder) / "progress_adversarial.png").stat().st_size > 10_000


def test_what_is_logged_reaches_every_logger_that_nnunet_has_switched_on(make_trainer: Callable[..., Any]) -> None:
    class Recorder:  # as nnU-Net's own W&B logger, which needs an account
        def __init__(self) -> None:
            self.seen: dict[str, list[tuple[int, Any]]] = {}

        def log(self, key: str, value: Any, step: int) -> None:
            self.seen.setdefault(key, []).append((step, value))

        def update_config(self, config: dict[str, Any]) -> None: ...

    recorder = Recorder()
    trainer = make_trainer(Whole, epochs=2)
    trainer.logger.loggers.append(recorder)
    trainer.run_training()
    for name in trainer._log_keys:
        assert [step for step, _ in recorder.seen[name]] == [0, 1], name
        assert all(isinstance(value, float) for _, value in recorder.seen[name]), name


def test_a_checkpoint_is_written_at_least_every_ten_epochs(make_trainer: Callable[..., Any]) -> None:
    for name in variants.__all__:
        assert make_trainer(getattr(variants, name)).save_every <= 10, name


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # nnU-Net divides 0 by 0 there
def test_an_epoch_without_lesion_and_prediction_does_not_freeze_the_best_checkpoint(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(variants.MSATrainerNoAdversary, epochs=2)
    trainer.initialize()
    nothing = {name: np.zeros(1) for name in ("tp_hard", "fp_hard", "fn_hard")} | {"loss": np.array(0.5)}
    something = nothing | {"tp_hard": np.array([3.0]), "fn_hard": np.array([1.0])}
    for epoch, outputs in enumerate((nothing, something, nothing)):
        trainer.current_epoch = epoch
        trainer.on_validation_epoch_end([outputs])
    rows = trainer.logger.get_checkpoint()
    assert rows["mean_fg_dice"] == pytest.approx([0, 6 / 7, 6 / 7])
    assert rows["ema_fg_dice"] == pytest.approx([0, 0.6 / 7, 0.9 * 0.6 / 7 + 0.6 / 7])


def test_lost_weights_stop_the_run_before_a_good_checkpoint_is_replaced(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(MSATrainer, epochs=2)
    trainer.initialize()
    outputs = [{"loss": np.array(np.nan)}]
    trainer.on_train_epoch_end(outputs)  # the weights are finite: training goes on
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(math.nan)
    with pytest.raises(Refusal, match="NaN in epoch"):
        trainer.on_train_epoch_end(outputs)


def test_only_left_and_right_are_mirrored_and_rotations_stay_small(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(MSATrainer)
    rotation, dummy_2d, initial, mirror = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert mirror == trainer.inference_allowed_mirroring_axes == (1,)
    assert max(np.degrees(rotation)) == pytest.approx(15)
    assert not dummy_2d
    assert all(64 / 0.85 - 1 < side < 64 * 1.23 / 0.85 for side in initial)  # the loader's patch holds a rotated one


def test_deep_supervision_scales_follow_the_networks_stages(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(MSATrainer)
    trainer.initialize()
    maps = trainer.network(torch.randn(1, 1, 64, 64))
    assert [list(np.array(m.shape[2:]) / 64) for m in maps] == trainer._get_deep_supervision_scales()
    stock = make_trainer(variants.MSATrainerStockNetwork)
    assert len(stock._get_deep_supervision_scales()) == 4


@pytest.mark.parametrize("name", variants.__all__)
def test_every_variant_trains_an_epoch(make_trainer: Callable[..., Any], name: str) -> None:
    trainer = make_trainer(getattr(variants, name), epochs=1, steps=2)
    trainer.run_training()
    rows = trainer.logger.get_checkpoint()
    assert np.isfinite(rows["train_losses"]).all()
    assert (trainer.adversary is None) == (name == "MSATrainerNoAdversary")
    assert (Path(trainer.output_folder) / "checkpoint_final.pth").is_file()


def test_a_network_of_two_stages_trains_without_deep_supervision(
    make_trainer: Callable[..., Any], plans: Callable[[], dict[str, Any]]
) -> None:
    class TwoStages(FromTheStart):
        pass

    content = plans()
    content["configurations"]["2d"]["patch_size"] = [32, 32]
    trainer = TwoStages(content, "2d", 0, make_trainer(MSATrainer).dataset_json, torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 1, 2, 1
    trainer.run_training()
    assert not trainer.enable_deep_supervision
    assert np.isfinite(trainer.logger.get_checkpoint()["train_losses"]).all()
