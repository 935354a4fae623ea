"""nnU-Net's data loaders, with what the levers change in them."""

from __future__ import annotations

from typing import Any

from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

from msa_trainer.augmentation import LesionKeepingTargets
from msa_trainer.levers import Levers
from msa_trainer.levers.case_memory import CaseMemory
from msa_trainer.levers.count_physics import count_true
from msa_trainer.levers.lesion_index import LesionIndex
from msa_trainer.levers.lesion_loss import target_transforms
from msa_trainer.levers.opposite_view import OppositeDropout
from msa_trainer.levers.sampling import LesionLoader, burden_probabilities
from msa_trainer.levers.transplant import LesionTransplant
from msa_trainer.preflight import check_levers


def dataloaders(trainer: Any, levers: Levers) -> tuple[Any, Any]:
    """nnUNetTrainer.get_dataloaders with levers: (training, validation), each an iterator of batches, one batch already drawn.

    Validation has nnU-Net's own sampling and images, so that its figures compare with those of any other trainer; what the
    loss needs beside the targets is in both. Raises Refusal for levers that the plans or the dataset do not allow.
    """
    plan, labels = trainer.configuration_manager, trainer.label_manager
    check_levers(levers, plan.normalization_schemes, trainer.dataset_json)
    if trainer.dataset_class is None:
        trainer.dataset_class = infer_dataset_class(trainer.preprocessed_dataset_folder)
    scales = trainer._get_deep_supervision_scales()
    rotation, dummy_2d, initial_patch, mirror = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    about_labels = {
        "is_cascaded": trainer.is_cascaded,
        "foreground_labels": labels.foreground_labels,
        "regions": labels.foreground_regions if labels.has_regions else None,
        "ignore_label": labels.ignore_label,
    }
    training_transforms = trainer.get_training_transforms(
        plan.patch_size, rotation, scales, mirror, dummy_2d, use_mask_for_norm=plan.use_mask_for_norm, **about_labels
    )
    validation_transforms = trainer.get_validation_transforms(scales, **about_labels)
    _change_images(training_transforms, levers, plan)
    for pipeline in (training_transforms, validation_transforms):
        _change_targets(pipeline, levers, labels)

    cases, validation = trainer.get_tr_and_val_datasets()
    training = CaseMemory(cases)
    index = LesionIndex(training, [label for label in labels.all_labels if label != 0], plan.spacing)
    loader = LesionLoader(
        training, trainer.batch_size, initial_patch, plan.patch_size, labels,
        oversample_foreground_percent=trainer.oversample_foreground_percent,
        sampling_probabilities=burden_probabilities(index, levers.burden_exponent), pad_sides=None,
        transforms=training_transforms, probabilistic_oversampling=trainer.probabilistic_oversampling,
        index=index, lesion_patches=levers.lesion_patches,
        change=LesionTransplant(training, index, levers.transplant) if levers.transplant > 0 else None,
    )  # fmt: skip
    stock = nnUNetDataLoader(
        validation, trainer.batch_size, plan.patch_size, plan.patch_size, labels,
        oversample_foreground_percent=trainer.oversample_foreground_percent,
        sampling_probabilities=None, pad_sides=None, transforms=validation_transforms,
        probabilistic_oversampling=trainer.probabilistic_oversampling,
    )  # fmt: skip
    return _started(loader, stock, get_allowed_n_proc_DA(), trainer.device.type == "cuda")


def _change_images(pipeline: Any, levers: Levers, plan: Any) -> None:
    channels = len(plan.normalization_schemes)
    if levers.count_physics > 0:
        pipeline.transforms = count_true(pipeline.transforms, levers.count_physics, plan.spacing, channels)
    if levers.opposite_dropout > 0:
        pipeline.transforms.append(OppositeDropout(levers.opposite_dropout, channels))


def _change_targets(pipeline: Any, levers: Levers, labels: Any) -> None:
    if not levers.keep_tiny_targets:
        pipeline.transforms = [
            DownsampleSegForDSTransform(ds_scales=transform.scales)
            if isinstance(transform, LesionKeepingTargets)
            else transform
            for transform in pipeline.transforms
        ]
    pipeline.transforms.extend(target_transforms(levers, labels.has_regions, labels.ignore_label))


def _started(training: Any, validation: Any, processes: int, pin_memory: bool) -> tuple[Any, Any]:
    """nnU-Net's numbers of workers and of batches that wait."""
    if processes == 0:
        started: list[Any] = [SingleThreadedAugmenter(loader, None) for loader in (training, validation)]
    else:
        workers = ((processes, max(6, processes // 2)), (max(1, processes // 2), max(3, processes // 4)))
        started = [
            NonDetMultiThreadedAugmenter(
                data_loader=loader, transform=None, num_processes=number, num_cached=waiting, seeds=None,
                pin_memory=pin_memory, wait_time=0.002,
            )
            for loader, (number, waiting) in zip((training, validation), workers, strict=True)
        ]  # fmt: skip
    for iterator in started:
        next(iterator)
    return started[0], started[1]
