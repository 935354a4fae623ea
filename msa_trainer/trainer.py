"""MSATrainer: nnU-Net's hooks, filled with the generator, the adversary and what small lesions need."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.distributed as dist
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.collate_outputs import collate_outputs
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from msa_trainer import __version__, checkpoint, epoch_log, progress, seeding
from msa_trainer.adversary import Adversary
from msa_trainer.augmentation import ROTATION_RADIANS, LesionKeepingTargets, left_right_axes
from msa_trainer.counts_stem import first_layer
from msa_trainer.levers import Levers
from msa_trainer.levers.averaging import WeightAverage
from msa_trainer.levers.lesion_loss import LesionAwareLoss
from msa_trainer.levers.loading import dataloaders
from msa_trainer.levers.optimisation import WEIGHT_DECAY, optimizer_and_schedule
from msa_trainer.planned_network import planned_generator
from msa_trainer.preflight import check_fold, check_foreground, check_intensities, check_levers, planned_stages
from msa_trainer.recipe import AdversaryRecipe
from msa_trainer.refusal import Refusal

GRADIENT_NORM = 12  # nnU-Net's clip of the generator's gradient
SAVE_EVERY = 10  # epochs; nnU-Net's 50 lose hours to a cluster's time limit
# Weight of the per-lesion Dice. The lever that won: on the development phantoms it raised the recall of lesions under 12 mm at
# one false positive an image from 0.53 to 0.66 (5 seeds at nnU-Net's own plan; README). No other weight was run there.
LESION_LOSS = 0.2
SCALE_RANGE = (0.85, 1.25)  # nnU-Net's, for the size of the patch that is rotated


class MSATrainer(nnUNetTrainer):  # type: ignore[misc]
    """`nnUNetv2_train DATASET 2d FOLD -tr MSATrainer`: MSA-Net-style generator, trained discriminator, per-lesion Dice.

    Seeded runs: MSA_SEED=0 and, for bit-equal ones, nnUNet_n_proc_DA=0. Raises Refusal (exit code 1, one sentence) for
    plans, folds and datasets it cannot train on, before nnU-Net creates a folder.
    """

    recipe: ClassVar[AdversaryRecipe] = AdversaryRecipe()
    levers: Levers = Levers(lesion_loss=LESION_LOSS)

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  nnU-Net's signature
    ) -> None:
        manager = PlansManager(plans).get_configuration(configuration)
        strides = self._strides(manager)
        check_intensities(manager.normalization_schemes, dataset_json)
        check_levers(self.levers, manager.normalization_schemes, dataset_json)
        if nnUNet_preprocessed.is_set():
            folder = Path(str(nnUNet_preprocessed)) / plans["dataset_name"]
            check_foreground(dataset_json, folder / manager.data_identifier, check_fold(fold, folder))
        self.seed = seeding.configured_seed()
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.save_every = SAVE_EVERY
        # A network of two stages has one head; nnU-Net's weights for a single deep-supervision scale would be 0/0.
        self.enable_deep_supervision = len(strides) > 2
        self.adversary: Adversary | None = None
        self.average: WeightAverage | None = None
        self.stem = first_layer(manager.normalization_schemes)  # the network's own: the adversary's pairs need its output

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        return planned_generator(configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision)

    @classmethod
    def _strides(cls, configuration: ConfigurationManager) -> list[tuple[int, ...]]:
        """Strides of the network's stages, which the deep-supervision scales follow."""
        stages = planned_stages(configuration.network_arch_init_kwargs, configuration.patch_size, "of these plans")
        return list(stages.strides)

    def initialize(self) -> None:
        if not self.enable_deep_supervision and self.levers.lesion_loss > 0:  # also where a subclass switched it off
            self.levers = replace(self.levers, lesion_loss=0.0)  # its cells travel behind the targets of several outputs
            self.print_to_log_file("The network has one output: training goes without the per-lesion Dice.")
        if self.seed is not None:
            seeding.seed_everything(seeding.derive(self.seed, self.fold, seeding.INITIALISATION))
        super().initialize()
        if self.levers.average is not None:
            self.average = WeightAverage(self._bare_network, self.levers.average)
            self.average.follow(self.optimizer)
        labels = self.label_manager
        if self.recipe.mode != "off":
            self.adversary = Adversary(
                self.recipe,
                self.num_input_channels,
                len(labels.foreground_regions if labels.has_regions else labels.foreground_labels),
                tuple(self.configuration_manager.patch_size),
                self.device,
                labels.has_regions,
                labels.ignore_label,
                seeding.derive(self.seed or 0, self.fold, seeding.DISCRIMINATOR),
            )
        epoch_log.pad(self._rows, self._log_keys, 0)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        chosen = optimizer_and_schedule(self.levers, self.network, self.num_epochs)
        if chosen is None:
            return cast("tuple[torch.optim.Optimizer, Any]", super().configure_optimizers())
        self.initial_lr, self.weight_decay = self.levers.learning_rate, WEIGHT_DECAY  # what nnU-Net's loggers are told
        return chosen

    # ------------------------------------------------------------------ deep supervision and data

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        if not self.enable_deep_supervision:
            return None
        scales: list[list[float]] = (1 / np.cumprod(self._strides(self.configuration_manager), axis=0)).tolist()
        return scales[:-1]

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        super().set_deep_supervision_enabled(enabled and self.enable_deep_supervision)

    def _build_loss(self) -> nn.Module:
        loss: Any = super()._build_loss()
        if isinstance(loss, DeepSupervisionWrapper):
            counted = sum(weight != 0 for weight in loss.weight_factors)
            loss.loss = epoch_log.RecordedLoss(loss.loss, counted)
        else:
            loss = epoch_log.RecordedLoss(loss, 1)
        if self.levers.lesion_loss > 0:
            labels = self.label_manager
            loss = LesionAwareLoss(loss, self.levers.lesion_loss, labels.has_regions, labels.ignore_label)
        return cast(nn.Module, loss)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, Any]:  # noqa: N802
        _, dummy_2d, _, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        patch = self.configuration_manager.patch_size
        initial = get_patch_size(patch, ROTATION_RADIANS, ROTATION_RADIANS, ROTATION_RADIANS, SCALE_RANGE)
        if dummy_2d:
            initial[0] = patch[0]
        mirror = left_right_axes(self.plans_manager.transpose_forward, len(patch))
        self.inference_allowed_mirroring_axes = mirror
        return ROTATION_RADIANS, dummy_2d, initial, mirror

    def get_dataloaders(self) -> tuple[Any, Any]:
        loaders: tuple[Any, Any] = dataloaders(self, self.levers) if self.levers.in_loader else super().get_dataloaders()
        return loaders

    @staticmethod
    def get_training_transforms(  # type: ignore[no-untyped-def]
        patch_size, rotation_for_DA, deep_supervision_scales, mirror_axes, do_dummy_2d_data_aug, use_mask_for_norm=None,
        is_cascaded=False, foreground_labels=None, regions=None, ignore_label=None,
    ):  # fmt: skip
        stock = nnUNetTrainer.get_training_transforms(
            patch_size, rotation_for_DA, None, mirror_axes, do_dummy_2d_data_aug, use_mask_for_norm, is_cascaded,
            foreground_labels, regions, ignore_label,
        )  # fmt: skip
        return _with_targets(stock, deep_supervision_scales, regions, ignore_label)

    @staticmethod
    def get_validation_transforms(  # type: ignore[no-untyped-def]
        deep_supervision_scales, is_cascaded=False, foreground_labels=None, regions=None, ignore_label=None
    ):
        stock = nnUNetTrainer.get_validation_transforms(None, is_cascaded, foreground_labels, regions, ignore_label)
        return _with_targets(stock, deep_supervision_scales, regions, ignore_label)

    # ------------------------------------------------------------------ epochs and steps

    def on_epoch_start(self) -> None:
        super().on_epoch_start()
        if self.seed is not None:
            seeding.seed_everything(seeding.derive(self.seed, self.fold, self.current_epoch))
        if self.adversary is not None:
            self.adversary.begin_epoch(self.current_epoch, self.num_epochs)

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        if self.adversary is None or self.adversary.weight == 0:
            step: dict[str, Any] = super().train_step(batch)
            return step
        data = batch["data"].to(self.device, non_blocking=True)
        several = isinstance(batch["target"], list)  # one target a deep-supervision scale, finest first
        targets = [t.to(self.device, non_blocking=True) for t in (batch["target"] if several else [batch["target"]])]
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda") if self.device.type == "cuda" else nullcontext():
            output = self.network(data)
            segmentation = self.loss(output, targets if several else targets[0])
        adversarial = self.adversary.term(output[0] if several else output, targets[0], self.stem(data))
        self._both_players_step(segmentation if adversarial is None else segmentation + adversarial)
        return {"loss": segmentation.detach().cpu().numpy()}

    def _both_players_step(self, loss: torch.Tensor) -> None:
        """One backward, one GradScaler, two optimisers."""
        scaler, adversary = self.grad_scaler, self.adversary
        assert adversary is not None
        if scaler is None:
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
            if not bool(torch.isfinite(norm)):
                adversary.drop()
                return
            self.optimizer.step()
            adversary.step()
            return
        scaler.scale(loss).backward()
        scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
        scaler.step(self.optimizer)
        adversary.step(scaler)
        scaler.update()

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        super().on_train_epoch_end(train_outputs)
        if not np.isfinite(collate_outputs(train_outputs)["loss"]).all():
            self._stop_if_weights_are_lost()
        values = epoch_log.epoch_values(self.adversary, *self._take_recorded())
        for name, value in self._mean_over_ranks(values).items():
            self.logger.log(name, value, self.current_epoch)

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        if self.average is not None:
            self.average.swap()

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        if self.average is not None:
            self.average.swap()
        super().on_validation_epoch_end(val_outputs)
        self._take_recorded()  # validation's are nnU-Net's val_losses
        epoch_log.settle(self._rows)

    def on_epoch_end(self) -> None:
        super().on_epoch_end()
        if self.local_rank == 0:
            progress.plot(self._rows, Path(self.output_folder) / "progress_adversarial.png")

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        with self._average_shown():
            super().perform_actual_validation(save_probabilities)

    # ------------------------------------------------------------------ checkpoints

    def save_checkpoint(self, filename: str) -> None:
        if self.local_rank != 0:
            return
        if self.disable_checkpointing:
            self.print_to_log_file("No checkpoint written, checkpointing is disabled")
            return
        adversary = None if self.adversary is None else self.adversary.state_dict()
        stock = {
            "network_weights": self._bare_network.state_dict(),
            "optimizer_state": self.optimizer.state_dict(),
            "grad_scaler_state": None if self.grad_scaler is None else self.grad_scaler.state_dict(),
            "logging": self.logger.get_checkpoint(),
            "_best_ema": self._best_ema,
            "current_epoch": self.current_epoch + 1,
            "init_args": self.my_init_kwargs,
            "trainer_name": self.__class__.__name__,
            "inference_allowed_mirroring_axes": self.inference_allowed_mirroring_axes,
        }
        extra = {checkpoint.KEY: {"version": __version__, "seed": self.seed, "adversary": adversary}}
        with self._average_shown():  # state dictionaries hold the tensors themselves: what is shown is written
            if self.average is not None:
                extra[checkpoint.KEY]["average"] = self.average.state_dict()
            checkpoint.write_atomically(checkpoint.plain(stock | extra), Path(filename))

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        if not self.was_initialized:
            self.initialize()
        source = str(filename_or_checkpoint)
        saved = torch.load(source, map_location=self.device, weights_only=False)
        checkpoint.refuse_other_architecture(saved["network_weights"], self._bare_network, source)
        super().load_checkpoint(source)
        ours = saved.get(checkpoint.KEY) or {}
        if self.average is not None and ours.get("average") is not None:
            self.average.load_state_dict(ours["average"])
        elif self.average is not None:
            self.average.restart()
            self.print_to_log_file(f"{source} holds no average: it begins with these weights.")
        state = ours.get("adversary")
        if self.adversary is not None and state is not None:
            self.adversary.load_state_dict(state)
        elif self.adversary is not None:
            self.print_to_log_file(f"{source} holds no discriminator: it starts afresh.")
        epoch_log.pad(self._rows, self._log_keys, self.current_epoch)

    # ------------------------------------------------------------------ what the hooks share

    @property
    def _bare_network(self) -> nn.Module:
        """The generator itself, out of DistributedDataParallel and torch.compile."""
        network = self.network.module if self.is_ddp else self.network
        bare: nn.Module = getattr(network, "_orig_mod", network)
        return bare

    @property
    def _rows(self) -> dict[str, list[Any]]:
        rows: dict[str, list[Any]] = self.logger.local_logger.my_fantastic_logging
        return rows

    @property
    def _recorded_loss(self) -> epoch_log.RecordedLoss:
        base: Any = self.loss.base if isinstance(self.loss, LesionAwareLoss) else self.loss
        recorded: epoch_log.RecordedLoss = base.loss if self.enable_deep_supervision else base
        return recorded

    def _take_recorded(self) -> tuple[list[float], float | None]:
        """Means since the last call: segmentation loss a scale, per-lesion Dice where the loss has it."""
        lesion = self.loss.term.take_means()[0] if isinstance(self.loss, LesionAwareLoss) else None
        return self._recorded_loss.take_means(), lesion

    @property
    def _log_keys(self) -> list[str]:
        pair_scales = 0 if self.adversary is None else self.adversary.scales
        return epoch_log.keys(self._recorded_loss.scales, pair_scales, isinstance(self.loss, LesionAwareLoss))

    def _average_shown(self) -> AbstractContextManager[None]:
        """Within, the network has the averaged weights, if there are any."""
        return nullcontext() if self.average is None else self.average.shown()

    def _mean_over_ranks(self, values: dict[str, float]) -> dict[str, float]:
        if not self.is_ddp:
            return values
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, values)
        return {name: float(np.nanmean([g[name] for g in gathered])) for name in values}

    def _stop_if_weights_are_lost(self) -> None:
        """A loss that was not finite once is nnU-Net's GradScaler's business; weights that are not would replace good ones."""
        norms = torch.stack([parameter.detach().norm() for parameter in self.network.parameters()])
        if math.isfinite(float(norms.sum())):
            self.print_to_log_file("A training step's loss was not finite; the weights are, training goes on.")
            return
        raise Refusal(
            f"the weights became NaN in epoch {self.current_epoch}. No checkpoint was overwritten: lower the learning rate or "
            f"set nnUNet_compile=f, and go on from the last good epoch with --c ({self.output_folder})."
        )


def _with_targets(stock: Any, scales: Any, regions: Any, ignore_label: int | None) -> Any:
    """nnU-Net's transforms, with deep-supervision targets that keep tiny lesions in the place of nearest ones."""
    if scales is not None:
        stock.transforms.append(LesionKeepingTargets(scales, regions is not None, ignore_label))
    return stock
