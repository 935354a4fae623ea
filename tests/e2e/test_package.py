"""The wheel that pip builds holds everything a command needs at run time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).parents[2]


def test_an_installed_wheel_converts_evaluates_and_names_its_trainer_folder(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path / "site"), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True)
    # -P and another folder: the checkout's packages must not be what is imported.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
    environment["PYTHONPATH"] = str(tmp_path / "site")

    def msa(*arguments: str) -> str:
        command = [sys.executable, "-P", "-m", "msa_trainer", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(tmp_path / "site" / "msa_trainer" / "nnunet_ext") in msa("env", "--root", "nnunet")
    msa("phantom", "-o", "studies", "-n", "2")
    msa("convert", "-i", "studies", "-d", "1", "-n", "Wheel", "-o", "raw", "--folds", "2")
    labels = tmp_path / "raw" / "Dataset001_Wheel" / "labelsTr"
    msa("evaluate", "-r", str(labels), "-p", str(labels), "-o", "report")
    assert (tmp_path / "report" / "report.html").is_file()
    for path in (
        "msa_trainer/templates/demo.html",
        "msa_trainer/py.typed",
        "evaluation/py.typed",
        "dataset_conversion/py.typed",
    ):
        assert (tmp_path / "site" / path).is_file(), path
