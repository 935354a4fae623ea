"""`msa info` as a user runs it; each fault is made for real: a wrong folder, a package that does not import, an odd version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from msa_trainer import info, variants
from msa_trainer.environment import EXTERNAL_TRAINERS, TRAINER_FOLDER, nnunet_environment

MSA = str(Path(sys.executable).parent / "msa")


@pytest.fixture
def ready(tmp_path: Path) -> dict[str, str]:
    """An environment in which training can start."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("nnUNet_", "PYTHONPATH"))}
    return nnunet_environment(tmp_path / "nnunet", clean)


@pytest.fixture
def broken(tmp_path: Path) -> Callable[[str, str], dict[str, str]]:
    """Variables under which a package of this name ends every import of it with the given statement."""

    def fake(name: str, statement: str) -> dict[str, str]:
        (tmp_path / "fake" / name).mkdir(parents=True)
        (tmp_path / "fake" / name / "__init__.py").write_text(statement)
        return {"PYTHONPATH": str(tmp_path / "fake")}

    return fake


def info_of(variables: dict[str, str], *options: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([MSA, "info", *options], env=variables, cwd=folder, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def only_problem(variables: dict[str, str]) -> dict[str, str]:
    """The reason and remedy of the one thing that keeps training from starting."""
    done = info_of(variables, "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 1
    assert not found["can_train"]
    assert len(found["problems"]) == 1, found["problems"]
    problem: dict[str, str] = found["problems"][0]
    return problem


def test_in_the_environment_that_msa_env_makes_training_can_start(ready: dict[str, str], tmp_path: Path) -> None:
    # Run where a file of the look-up's own name lies: the current folder must not be searched, for nnUNetv2_train does not.
    (tmp_path / "nnunetv2.py").write_text("raise SystemExit('the current folder was searched')")
    done = info_of(ready, "--json", folder=tmp_path)
    found = json.loads(done.stdout)
    assert done.returncode == 0, found["problems"]
    assert found["trainer_found"] is found["can_train"] is True
    assert found["problems"] == []
    assert found["versions"]["torch"] == metadata.version("torch")
    assert found["versions"]["msa-trainer"] == metadata.version("msa-trainer")
    assert found["variables"]["nnUNet_raw"] == {"value": ready["nnUNet_raw"], "exists": True}
    assert found["trainers"] == variants.__all__
    assert isinstance(found["devices"], list)
    assert found["cpu_cores"] >= 1
    assert found["memory_gib"] > 0.5


def test_in_a_fresh_shell_a_person_reads_what_is_unset_and_what_to_type_once(ready: dict[str, str]) -> None:
    fresh = {name: value for name, value in ready.items() if not name.startswith("nnUNet_")}
    done = info_of(fresh)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert "nnU-Net does not find MSATrainer." in lines
    assert f"problem: {EXTERNAL_TRAINERS} is not set in this shell." in lines
    assert "problem: nnUNet_raw, nnUNet_preprocessed, nnUNet_results: not set in this shell." in lines
    assert [line for line in lines if line.startswith("type: ")] == ['type: eval "$(msa env)"']


def test_the_package_folder_finds_a_second_copy_and_is_named_as_the_reason(ready: dict[str, str]) -> None:
    problem = only_problem(ready | {EXTERNAL_TRAINERS: str(TRAINER_FOLDER.parent)})
    assert "(the package itself)" in problem["reason"]
    assert str(TRAINER_FOLDER) in problem["reason"]
    assert problem["remedy"] == f'unset {EXTERNAL_TRAINERS}; eval "$(msa env)"'


def test_a_missing_folder_for_data_is_the_only_problem_where_the_trainer_is_found(ready: dict[str, str]) -> None:
    Path(ready["nnUNet_preprocessed"]).rmdir()
    problem = only_problem(ready)
    assert problem["reason"] == f"nnUNet_preprocessed names {ready['nnUNet_preprocessed']}, which is no folder."


def test_a_broken_torchvision_is_shown_with_its_message_and_remedy(
    ready: dict[str, str], broken: Callable[[str, str], dict[str, str]]
) -> None:
    problem = only_problem(ready | broken("torchvision", 'raise RuntimeError("operator torchvision::nms does not exist")'))
    assert "torchvision" in problem["reason"]
    assert problem["reason"].endswith("RuntimeError: operator torchvision::nms does not exist")
    assert problem["remedy"] == 'pip install --force-reinstall "torch>=2.14" "torchvision>=0.29.1"'


@pytest.mark.parametrize(
    ("package", "remedy"),
    [("nnunetv2", 'pip install "nnunetv2>=2.8,<2.9"'), ("timm", "pip install timm"), ("torch", info.MATCH_TORCH)],
)
def test_a_missing_package_is_named(
    ready: dict[str, str], broken: Callable[[str, str], dict[str, str]], package: str, remedy: str
) -> None:
    problem = only_problem(ready | broken(package, f"raise ModuleNotFoundError(\"No module named '{package}'\")"))
    assert problem["reason"].startswith(f"{package} is not installed in this Python")
    assert problem["remedy"] == remedy


def test_a_torch_that_does_not_import_is_no_missing_gpu(
    ready: dict[str, str], broken: Callable[[str, str], dict[str, str]]
) -> None:
    variables = ready | broken("torch", "raise OSError('libcudart.so.12: cannot open shared object file')")
    del variables[EXTERNAL_TRAINERS]  # unset as well: torch comes first
    done = info_of(variables)
    assert done.returncode == 1
    assert "GPU unknown: torch does not import" in done.stdout
    assert "problem: torch does not import: OSError: libcudart.so.12: cannot open shared object file" in done.stdout


def test_an_nnunet_of_another_series_is_a_problem(ready: dict[str, str], tmp_path: Path) -> None:
    record = tmp_path / "fake" / "nnunetv2-2.9.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: nnunetv2\nVersion: 2.9.0\n")
    problem = only_problem(ready | {"PYTHONPATH": str(tmp_path / "fake")})
    assert problem["reason"].startswith("nnunetv2 2.9.0 is installed")
    assert problem["remedy"] == 'pip install "nnunetv2>=2.8,<2.9"'


def test_the_series_and_its_remedy_are_what_the_package_requires() -> None:
    required = next(one for one in metadata.requires("msa-trainer") or [] if one.startswith("nnunetv2"))
    assert set(required.removeprefix("nnunetv2").split(",")) == {">=2.8", "<2.9"}
    assert info.NNUNET_SERIES == "2.8"
    assert info.INSTALL_NNUNET == 'pip install "nnunetv2>=2.8,<2.9"'


NOT_FOUND = "RuntimeError: Could not find requested nnunet trainer MSATrainer"
AGAIN = f'unset {EXTERNAL_TRAINERS}; eval "$(msa env)"'
ENOUGH = 'eval "$(msa env)"'


@pytest.mark.parametrize(
    ("value", "says", "remedy"),
    [
        (str(TRAINER_FOLDER.parent.parent), "(a folder above the package)", AGAIN),
        (f"{TRAINER_FOLDER.parent.parent}{os.pathsep}{TRAINER_FOLDER}", "(a folder above the package)", AGAIN),
        ("~/trainers", "(nnU-Net does not expand ~)", ENOUGH),
        ("/no/such/folder", "(no such folder)", ENOUGH),
        (os.path.sep + "usr", "(not this package's)", ENOUGH),
        ("", "is not set", ENOUGH),
    ],
)
def test_every_kind_of_wrong_folder_has_its_own_words(value: str, says: str, remedy: str) -> None:
    reason, typed = info.diagnose(NOT_FOUND, None, {EXTERNAL_TRAINERS: value})
    assert says in reason
    assert typed == remedy


def test_an_error_of_nnunets_own_is_not_taken_for_an_unset_variable() -> None:
    reason, _ = info.diagnose("ImportError: cannot import name 'x' from 'nnunetv2'", None, {})
    assert reason.endswith("ImportError: cannot import name 'x' from 'nnunetv2'")


def test_another_class_of_the_same_name_is_said_where_it_stands() -> None:
    variables = {EXTERNAL_TRAINERS: os.pathsep.join(["/usr", str(TRAINER_FOLDER)])}
    reason, _ = info.diagnose("", "their_trainers", variables)
    assert "their_trainers" in reason


def test_an_unknown_error_is_handed_on_with_the_other_folders_searched() -> None:
    variables = {EXTERNAL_TRAINERS: os.pathsep.join(["/usr", str(TRAINER_FOLDER)])}
    reason, remedy = info.diagnose("Traceback\n  ...\nKeyError: 'distutils'", None, variables)
    assert "KeyError: 'distutils'" in reason
    assert "/usr (not this package's)" in reason
    assert remedy == AGAIN
