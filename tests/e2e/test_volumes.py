"""3-D: two epochs of 3d_fullres on tiny volumes train and predict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.e2e


def test_a_3d_fullres_run_trains_and_predicts(
    empty_nnunet: Any, write_raw_dataset: Any, masks: Callable[[Path], dict[str, np.ndarray]], tmp_path: Path
) -> None:
    write_raw_dataset(empty_nnunet.raw, "Dataset913_Volumes", (32, 48, 40), 4)
    empty_nnunet.do("nnUNetv2_plan_and_preprocess -d 913 -c 3d_fullres -np 1 -npfp 1")
    empty_nnunet.do("nnUNetv2_train 913 3d_fullres 0 -tr MSATrainerTiny -device cpu")
    saved = torch.load(
        empty_nnunet.fold("Dataset913_Volumes", 0, configuration="3d_fullres") / "checkpoint_final.pth", weights_only=True
    )
    assert len(saved["logging"]["train_losses"]) == 3
    assert saved["inference_allowed_mirroring_axes"] == (2,)
    empty_nnunet.do(
        "nnUNetv2_predict -d 913 -c 3d_fullres -tr MSATrainerTiny -f 0 -device cpu -npp 0 -nps 0 "
        f"-i {empty_nnunet.raw / 'Dataset913_Volumes' / 'imagesTs'} -o {tmp_path}"
    )
    assert {mask.shape for mask in masks(tmp_path).values()} == {(32, 48, 40)}
