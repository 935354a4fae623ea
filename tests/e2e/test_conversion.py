"""nnU-Net's own integrity check, planning and preprocessing accept what `msa convert` writes, whatever the options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

LABELS = "classes:\n  metastasis: [metastasis]\n  benign: [fracture]\nignore: [unclear]\n"


@pytest.fixture(scope="module")
def studies(empty_nnunet: Any) -> Path:
    """Five phantom patients, with some outlines renamed to a second class and to what is to be ignored."""
    folder: Path = empty_nnunet.root / "studies"
    empty_nnunet.do(f"msa phantom -o {folder} -n 5 --seed 3")
    shapes = [(path, content) for path in sorted(folder.rglob("*.json")) if (content := json.loads(path.read_text()))["shapes"]]
    assert len(shapes) > 2
    for (path, content), label in zip(shapes, ("fracture", "unclear"), strict=False):
        content["shapes"][0]["label"] = label
        path.write_text(json.dumps(content))
    (empty_nnunet.root / "labels.yaml").write_text(LABELS)
    return folder


@pytest.mark.parametrize(
    ("number", "options", "patch", "channels"),
    [
        (921, "--crop thorax --views paired --channels anscombe", [256, 256], 2),
        (922, "--crop thorax --channels counts", [256, 256], 1),
        (923, "--format png", [1024, 256], 1),
    ],
)
def test_nnunet_verifies_plans_and_preprocesses_every_kind_of_dataset(
    empty_nnunet: Any, studies: Path, number: int, options: str, patch: list[int], channels: int
) -> None:
    labels = empty_nnunet.root / "labels.yaml"
    said = empty_nnunet.do(
        f"msa convert -i {studies} -d {number} -n Kind -o {empty_nnunet.raw} --folds 2 --labels {labels} {options}"
    )
    assert "look at qc.html" in said or "qc" not in said
    empty_nnunet.do(f"nnUNetv2_plan_and_preprocess -d {number} -c 2d --verify_dataset_integrity -np 2 -npfp 2")
    preprocessed = empty_nnunet.preprocessed / f"Dataset{number}_Kind"
    plan = json.loads((preprocessed / "nnUNetPlans.json").read_text())
    configuration = plan["configurations"]["2d"]
    assert configuration["patch_size"] == patch
    schemes = configuration["normalization_schemes"]
    assert schemes == (["NoNormalization"] if "counts" in options else ["ZScoreNormalization"] * channels)
    assert configuration["use_mask_for_norm"] == [False] * channels
    assert configuration["median_image_size_in_voxels"] == [float(side) for side in patch]  # nothing was cropped
    splits = json.loads((preprocessed / "splits_final.json").read_text())
    raw = empty_nnunet.raw / f"Dataset{number}_Kind"
    assert splits == json.loads((raw / "splits_final.json").read_text())
    dataset = json.loads((preprocessed / "dataset.json").read_text())
    assert dataset["labels"] == {"background": 0, "metastasis": 1, "benign": 2, "ignore": 3}
    assert set(dataset["msa"]) == {"version", "crop", "views", "channels", "pixel_rule", "spacing_mm"}
