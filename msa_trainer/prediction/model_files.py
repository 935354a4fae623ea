"""Where a model's files lie: a trained model's folder, an exported zip, or nnU-Net's results by a dataset's number."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msa_trainer.prediction.archive_zip import LARGEST_TEXT, ArchiveZip
from msa_trainer.prediction.errors import PredictionError

RESULTS = "nnUNet_results"


@dataclass(frozen=True)
class ModelFiles:
    """The files of one trained model. place: for messages. names: relative to the model's folder, with /."""

    place: str
    names: frozenset[str]
    read: Callable[[str], bytes]

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file that must be there and hold an object; raises PredictionError."""
        if name not in self.names:
            raise PredictionError(
                f"{self.place}: has no {name}; expected a trained model's folder"
                " (nnUNet_results/DatasetXXX_Name/Trainer__Plans__2d) or an export of one."
            )
        try:
            content = json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise PredictionError(f"{self.place}/{name}: is no JSON file ({error}); copy or export the model again.") from error
        if not isinstance(content, dict):
            raise PredictionError(f"{self.place}/{name}: holds {type(content).__name__}; expected an object of named values.")
        return content

    def folds(self, checkpoint: str) -> list[str]:
        """The trained folds in nnU-Net's order, by number; "all" only where there is no other."""
        pattern = re.compile(rf"fold_(\d+|all)/{re.escape(checkpoint)}")
        found = [match[1] for match in map(pattern.fullmatch, self.names) if match]
        numbers = sorted((fold for fold in found if fold != "all"), key=int)
        return numbers or found


def find_model(source: str | Path, trainer: str, configuration: str, plans: str) -> ModelFiles:
    """The files of the model that `source` names: a folder, a zip archive, or a dataset (its number or name).

    trainer, configuration and plans tell models of one dataset apart. Raises PredictionError where there is no such model, or
    an archive holds what no export does.
    """
    path = Path(source)
    wanted = f"{trainer}__{plans}__{configuration}"
    if path.is_dir():
        return _in_folder(path, wanted)
    if path.is_file():
        return _in_archive(path, wanted, configuration)
    if re.fullmatch(r"\d{1,3}|Dataset\d{3}_[A-Za-z0-9_-]+", str(source)):
        return _in_results(str(source), wanted)
    raise PredictionError(
        f"{source}: is not there; expected a trained model's folder, an export of nnUNetv2_export_model_to_zip, or a dataset's"
        " number."
    )


def _in_folder(folder: Path, wanted: str) -> ModelFiles:
    if not (folder / "plans.json").exists() and (folder / wanted).is_dir():
        folder = folder / wanted  # the dataset's folder was named
    found = [*folder.glob("*.json"), *folder.glob("fold_*/*")]

    def read(name: str) -> bytes:
        file = folder / name
        try:
            if name.endswith(".json") and file.stat().st_size > LARGEST_TEXT:
                raise PredictionError(f"{file}: is larger than {LARGEST_TEXT // 2**20} MiB; expected a file of nnU-Net's.")
            return file.read_bytes()
        except OSError as error:
            raise PredictionError(f"{file}: cannot be read ({error.strerror}).") from error

    return ModelFiles(str(folder), frozenset(file.relative_to(folder).as_posix() for file in found), read)


def _in_archive(path: Path, wanted: str, configuration: str) -> ModelFiles:
    archive = ArchiveZip(path)
    ending = f"__{configuration}/plans.json"
    folders = sorted(name.removesuffix("/plans.json") for name in archive.members if name.endswith(ending))
    if not folders:
        raise PredictionError(
            f"{path}: holds no model of configuration {configuration}; expected an export of nnUNetv2_export_model_to_zip -c"
            f" {configuration}."
        )
    chosen = [folder for folder in folders if folder.split("/")[-1] == wanted] if len(folders) > 1 else folders
    if len(chosen) != 1:
        raise PredictionError(
            f"{path}: holds the models {', '.join(folders)}, of which {len(chosen)} are {wanted}; choose with -tr, -c and -p."
        )
    root = chosen[0] + "/"
    names = frozenset(name.removeprefix(root) for name in archive.members if name.startswith(root))
    return ModelFiles(f"{path}/{chosen[0]}", names, lambda name: archive.read(root + name))


def _in_results(dataset: str, wanted: str) -> ModelFiles:
    results = os.environ.get(RESULTS)
    if not results:
        raise PredictionError(
            f"dataset {dataset} is looked for in {RESULTS}, which is not set; "
            """set it (eval "$(msa env)"), or name the model's folder."""
        )
    pattern = f"Dataset{int(dataset):03d}_*" if dataset.isdigit() else dataset
    folders = sorted(path for path in Path(results).glob(pattern) if path.is_dir())
    if len(folders) != 1:
        found = ", ".join(path.name for path in folders) or "nothing"
        raise PredictionError(f"{results}: {pattern} is {found}; expected one dataset with a trained model.")
    folder = folders[0] / wanted
    if not folder.is_dir():
        trained = ", ".join(path.name for path in sorted(folders[0].glob("*__*__*"))) or "nothing"
        raise PredictionError(f"{folders[0]}: has no {wanted}; trained there: {trained}. Name one of them with -tr, -c and -p.")
    return _in_folder(folder, wanted)
