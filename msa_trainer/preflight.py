"""What is refused before nnU-Net creates a folder: plans, folds and datasets that training cannot use."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from msa_trainer.counts_stem import holds_counts
from msa_trainer.generator import Stages, stages_from_plan
from msa_trainer.levers import Levers, OptimizerName
from msa_trainer.refusal import Refusal

NNUNET_FOLDS = 5  # how many folds nnU-Net makes where there is no split file


def planned_stages(architecture: Mapping[str, Any], patch_size: Any, configuration: str) -> Stages:
    """The generator's stages, or Refusal with the reason."""
    try:
        return stages_from_plan(architecture, [int(side) for side in patch_size])
    except ValueError as reason:
        raise Refusal(f"configuration '{configuration}': {reason}") from None


def check_fold(fold: int | str, preprocessed: Path) -> list[str]:
    """Refuse a fold beyond the split (nnU-Net would make a random one); return the fold's training cases, [] if unknown."""
    if isinstance(fold, str):
        return []
    file = preprocessed / "splits_final.json"
    if not file.is_file():
        if not 0 <= fold < NNUNET_FOLDS:
            raise Refusal(f"fold {fold} does not exist: {file} is not there and nnU-Net makes folds 0 to {NNUNET_FOLDS - 1}.")
        return []
    splits = json.loads(file.read_text())
    if not 0 <= fold < len(splits):
        raise Refusal(
            f"fold {fold} is outside {file}, which holds folds 0 to {len(splits) - 1}. nnU-Net would silently train on a "
            "random split that mixes patients; choose one of these folds or convert again with more (--folds)."
        )
    return list(splits[fold]["train"])


def check_intensities(normalization_schemes: Sequence[str], dataset_json: Mapping[str, Any]) -> None:
    """Refuse channels that are not normalised unless dataset.json calls them counts: the first layer would take them for such.

    Values that somebody normalised by hand have negative ones, which that layer would cut off without a word.
    """
    found = dataset_json.get("msa", {}).get("channels")
    if holds_counts(normalization_schemes) and found != "counts":
        raise Refusal(
            f"the plans leave the intensities as they are (noNorm), and dataset.json has {found!r} as msa.channels; expected "
            '"counts". If they are counts, add "msa": {"channels": "counts"} to dataset.json (raw and preprocessed); if '
            "not, give the channels another name there, e.g. zscore, and plan and preprocess again."
        )


def check_levers(levers: Levers, normalization_schemes: Sequence[str], dataset_json: Mapping[str, Any]) -> None:
    """Refuse levers that have no meaning, or that need counts or an opposite view where the dataset has none."""
    if levers.optimizer not in get_args(OptimizerName):
        raise Refusal(f"the lever optimizer is {levers.optimizer!r}; expected one of {', '.join(get_args(OptimizerName))}.")
    if levers.average is not None and not 0 <= levers.average < 1:
        raise Refusal(f"the lever average is {levers.average}; expected a decay from 0 to below 1, or None for no average.")
    for name in ("lesion_loss", "burden_exponent"):
        if getattr(levers, name) < 0:
            raise Refusal(f"the lever {name} is {getattr(levers, name)}; expected 0 (off) or more.")
    for name in ("lesion_patches", "count_physics", "transplant", "opposite_dropout"):
        value = getattr(levers, name)
        if not 0 <= value <= 1:
            raise Refusal(f"the lever {name} is {value}; expected a probability, 0 to 1.")
    for name in ("count_physics", "transplant"):
        if getattr(levers, name) > 0 and not holds_counts(normalization_schemes):
            raise Refusal(
                f"the lever {name} is {getattr(levers, name)} and the plans normalise the images "
                f"({', '.join(normalization_schemes)}); it needs counts: convert with --channels counts, plan and preprocess."
            )
    views = dataset_json.get("msa", {}).get("views")
    if levers.opposite_dropout > 0 and (views != "paired" or len(normalization_schemes) % 2):
        raise Refusal(
            f"the lever opposite_dropout is {levers.opposite_dropout} and dataset.json has {views!r} as msa.views and "
            f"{len(normalization_schemes)} channel(s); it needs the opposite view: convert with --views paired."
        )


def check_foreground(dataset_json: Mapping[str, Any], data_folder: Path, cases: list[str]) -> None:
    """Refuse a dataset without a foreground label, or whose training cases hold no foreground pixel at all.

    data_folder: the configuration's preprocessed folder; nnU-Net keeps a sample of each case's foreground positions there.
    """
    foreground = [name for name in dataset_json["labels"] if name not in ("background", "ignore")]
    if not foreground:
        raise Refusal(
            f"dataset.json names no foreground label (found: {', '.join(dataset_json['labels'])}). Add one, e.g. "
            '"metastasis": 1, and preprocess again.'
        )
    files = [data_folder / f"{case}.pkl" for case in cases] if cases else sorted(data_folder.glob("*.pkl"))
    known = [file for file in files if file.is_file()]
    if known and not any(_has_foreground(file) for file in known):
        raise Refusal(
            f"none of the {len(known)} training cases in {data_folder} has a pixel of {', '.join(foreground)}: there is "
            "nothing to learn. Check the outlines' labels and the conversion's summary."
        )


def _has_foreground(properties: Path) -> bool:
    """nnU-Net's own pickle of a preprocessed case, written on this machine by nnUNetv2_preprocess."""
    with properties.open("rb") as file:
        locations = pickle.load(file).get("class_locations", {})
    return any(len(found) for found in locations.values())
