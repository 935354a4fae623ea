"""The models of `msa compare`: which folders are training runs of one model, and which are folds of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.cases import mask_files
from evaluation.errors import UnusableInputError


@dataclass(frozen=True)
class Run:
    """One training run: a folder of predictions, or one a fold whose cases together are predicted once."""

    folders: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The folders as they were given."""
        return ",".join(map(str, self.folders))


@dataclass(frozen=True)
class Model:
    """A model under its name, with one run or more."""

    name: str
    runs: tuple[Run, ...]

    @property
    def folds(self) -> int:
        """Number of folders that make one run."""
        return len(self.runs[0].folders)


def read_models(arguments: Sequence[str]) -> list[Model]:
    """Models from NAME=DIR[,DIR...], in the order given.

    Folders of a model that predict the same cases are training runs (seeds); folders that have no case in common are the
    folds of one run, such as nnU-Net's fold_0/validation to fold_4/validation, and are put together. Both may be combined:
    the k-th folder given of every fold then belongs to run k.

    Raises UnusableInputError: no NAME=DIR, fewer than two models, a name or a folder given twice, a folder without masks,
    folders that share a part of their cases only, folds with different numbers of runs.
    """
    folders: dict[str, list[Path]] = {}
    for argument in arguments:
        name, _, listed = argument.partition("=")
        name, given = name.strip(), [part.strip() for part in listed.split(",")]
        if not name or not name.isprintable() or not all(given):
            raise UnusableInputError(f"-p {argument}: expected NAME=DIR or NAME=DIR,DIR,..., as in MSA=seed0,seed1.")
        if name in folders:
            raise UnusableInputError(f"-p {argument}: the name {name} is given twice; list all runs of it as {name}=DIR,DIR.")
        folders[name] = [Path(part).expanduser() for part in given]
    if len(folders) < 2:
        only = f"only {next(iter(folders))}" if folders else "none"
        raise UnusableInputError(f"-p: expected two models or more, found {only}; msa evaluate describes a single one.")
    return [Model(name, _runs(name, given)) for name, given in folders.items()]


def _runs(name: str, folders: list[Path]) -> tuple[Run, ...]:
    seen: dict[Path, Path] = {}
    for folder in folders:
        if folder.resolve() in seen:
            raise UnusableInputError(f"-p {name}: the folder {folder} is given twice; a run counts once.")
        seen[folder.resolve()] = folder
    cases = {folder: set(mask_files(folder, f"masks predicted by {name}")) for folder in folders}
    empty = next((folder for folder in folders if not cases[folder]), None)
    if empty is not None:
        raise UnusableInputError(f"{empty}: no predicted mask found; expected those of {name}.")
    folds: list[list[Path]] = []
    for folder in folders:
        fold = next((fold for fold in folds if cases[folder] & cases[fold[0]]), None)
        if fold is None:
            folds.append([folder])
        else:
            fold.append(folder)
    _check_folds(name, folds, cases)
    return tuple(Run(together) for together in zip(*folds, strict=True))


def _check_folds(name: str, folds: list[list[Path]], cases: dict[Path, set[str]]) -> None:
    for fold in folds:
        for folder in fold[1:]:
            shared, fewer = len(cases[folder] & cases[fold[0]]), min(len(cases[folder]), len(cases[fold[0]]))
            # A run may lack some predictions (they count as empty); half of them is no run of the same cases.
            if 2 * shared <= fewer:
                raise UnusableInputError(_mixed(name, fold[0], folder, shared))
        for other in folds:
            for one, two in ((one, two) for one in fold for two in other if other is not fold):
                if cases[one] & cases[two]:
                    raise UnusableInputError(_mixed(name, one, two, len(cases[one] & cases[two])))
    uneven = next((fold for fold in folds if len(fold) != len(folds[0])), None)
    if uneven is not None:
        raise UnusableInputError(
            f"-p {name}: {uneven[0]} is predicted by {len(uneven)} folders and {folds[0][0]} by {len(folds[0])}; "
            "expected every fold as often, once a run."
        )


def _mixed(name: str, one: Path, two: Path, shared: int) -> str:
    return (
        f"-p {name}: {two} shares {shared} of its cases with {one}; expected the same cases (runs of the model) "
        "or none (folds of one run)."
    )
