"""Killed runs go on: in the middle of an epoch, in the middle of writing a checkpoint, and to the last bit where seeded."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.e2e

DATASET = "Dataset911_Tiny"
TRAIN = "nnUNetv2_train 911 2d 0 -tr MSATrainerTiny -device cpu"


@pytest.fixture
def fresh(nnunet: Any, tmp_path: Path) -> Any:
    """The planned dataset with results of its own."""
    own = type(nnunet)(tmp_path / "own")
    for part in ("trainers", "nnUNet_raw", "nnUNet_preprocessed"):
        shutil.copytree(nnunet.root / part, own.root / part)
    return own


def load(folder: Path) -> Mapping[str, Any]:
    checkpoint: Mapping[str, Any] = torch.load(folder / "checkpoint_final.pth", weights_only=True)
    return checkpoint


@pytest.mark.parametrize("moment", ["epoch 1", "writing 1"])
def test_a_killed_run_continues_to_a_usable_model_bit_equal_to_an_uninterrupted_one(
    same: Callable[[Any, Any], bool], fresh: Any, moment: str, tmp_path: Path
) -> None:
    seeded = {"MSA_SEED": "1", "nnUNet_n_proc_DA": "0"}
    killed = fresh.run(TRAIN, KILL=moment, **seeded)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    folder = fresh.fold(DATASET, 0)
    assert not (folder / "checkpoint_final.pth").exists()
    latest = folder / "checkpoint_latest.pth"
    assert torch.load(latest, weights_only=True)["current_epoch"] == 1, "the checkpoint of epoch 0 is whole"
    assert (folder / "checkpoint_latest.pth.part").exists() == (moment == "writing 1")
    fresh.do(f"{TRAIN} --c", **seeded)
    resumed = load(folder)
    assert not list(folder.glob("*.part"))
    fresh.do(f"nnUNetv2_predict -d 911 -c 2d -tr MSATrainerTiny -f 0 -device cpu -npp 0 -nps 0 "
             f"-i {fresh.raw / DATASET / 'imagesTs'} -o {tmp_path / 'predicted'}")  # fmt: skip
    assert len(list((tmp_path / "predicted").glob("*.nii.gz"))) == 2

    shutil.rmtree(fresh.results)
    fresh.do(TRAIN, **seeded)
    uninterrupted = load(folder)
    for part in ("network_weights", "optimizer_state", "msa", "_best_ema", "current_epoch"):
        assert same(uninterrupted[part], resumed[part]), part
    for name, row in uninterrupted["logging"].items():
        assert name.endswith("timestamps") or same(row, resumed["logging"][name]), name
