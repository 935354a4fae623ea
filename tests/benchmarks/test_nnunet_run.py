"""A benchmark's table states the commit that made it, and nnU-Net's folders are the benchmark's own."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nnunet_run
import pytest


def _git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> tuple[Path, Any]:
    """A repository with one benchmark and one module committed, and the benchmark's own nnunet_run."""
    for name in ("benchmarks/results/cost.csv", "msa_trainer/loss.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    shutil.copy(nnunet_run.__file__, tmp_path / "benchmarks" / "nnunet_run.py")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", "-A")
    _git(tmp_path, "commit", "-qm", "first")
    specification = importlib.util.spec_from_file_location("other_run", tmp_path / "benchmarks" / "nnunet_run.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return tmp_path, module


def test_the_commit_is_marked_where_code_was_changed_and_not_where_a_table_was(checkout: tuple[Path, Any]) -> None:
    folder, module = checkout
    clean = _git(folder, "rev-parse", "--short=10", "HEAD")
    assert module.commit() == clean
    (folder / "benchmarks" / "results" / "cost.csv").write_text("2\n")
    assert module.commit() == clean
    (folder / "msa_trainer" / "loss.py").write_text("2\n")
    assert module.commit() == f"{clean}-dirty"


def test_without_a_repository_the_commit_is_unknown(checkout: tuple[Path, Any]) -> None:
    folder, module = checkout
    shutil.rmtree(folder / ".git")
    assert module.commit() == "unknown"


def test_the_shells_own_folders_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_raw", "/elsewhere")
    monkeypatch.setenv("nnUNet_extTrainer", "/elsewhere")
    variables = nnunet_run.environment(tmp_path, nnUNet_n_proc_DA="0")
    assert variables["nnUNet_raw"] == str(tmp_path / "nnUNet_raw")
    assert "/elsewhere" not in variables["nnUNet_extTrainer"]
    assert variables["nnUNet_n_proc_DA"] == "0"


def test_a_command_that_fails_ends_the_benchmark_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"failed with exit code 3 .*log.txt.*:\nlast words"):
        nnunet_run.command(["sh", "-c", "echo last words; exit 3"], tmp_path, tmp_path / "log.txt")
