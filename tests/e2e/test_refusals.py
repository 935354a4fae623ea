"""Bad input inside our hooks: one sentence, non-zero exit, nothing half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

DATASET = "Dataset911_Tiny"


@pytest.fixture(scope="module")
def spoilt(nnunet: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A copy of the planned dataset whose plans, labels and folds may be spoilt."""
    own = type(nnunet)(tmp_path_factory.mktemp("spoilt"))
    for part in ("trainers", "nnUNet_raw", "nnUNet_preprocessed"):
        shutil.copytree(nnunet.root / part, own.root / part)
    return own


def refused(nnunet: Any, arguments: str = "911 2d 0", **variables: str) -> str:
    """Train and return the one sentence it was refused with."""
    done = nnunet.run(f"nnUNetv2_train {arguments} -tr MSATrainerTiny -device cpu", **variables)
    assert done.returncode != 0, done.stdout[-2000:]
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    sentences = [line for line in done.stderr.splitlines() if line.startswith("msa-trainer: ")]
    assert len(sentences) == 1, done.stderr[-2000:]
    assert not nnunet.results.exists() or not any(nnunet.results.rglob("fold_*")), "something was written"
    return sentences[0]


def edit(file: Path, change: Callable[[Any], None]) -> str:
    """Change a JSON file; return what it held before."""
    before = file.read_text()
    content = json.loads(before)
    change(content)
    file.write_text(json.dumps(content))
    return before


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("kernel_sizes", [[2, 2]] * 5, "kernel of 2 px"),
        ("strides", [[1, 1]] * 2, "5 widths, 5 kernels and 2 strides"),
        ("features_per_stage", None, "no 'features_per_stage'"),
    ],
)
def test_a_plan_the_network_cannot_be_built_from(spoilt: Any, key: str, value: Any, says: str) -> None:
    plans = spoilt.preprocessed / DATASET / "nnUNetPlans.json"

    def spoil(content: Any) -> None:
        kwargs = content["configurations"]["2d"]["architecture"]["arch_kwargs"]
        kwargs.pop(key) if value is None else kwargs.update({key: value})

    before = edit(plans, spoil)
    try:
        assert says in refused(spoilt)
    finally:
        plans.write_text(before)


@pytest.mark.parametrize(("patch", "says"), [([16, 16], "smaller than the reduction"), ([65, 64], "not a multiple")])
def test_a_patch_the_network_cannot_halve(spoilt: Any, patch: list[int], says: str) -> None:
    plans = spoilt.preprocessed / DATASET / "nnUNetPlans.json"
    before = edit(plans, lambda content: content["configurations"]["2d"].update(patch_size=patch))
    try:
        assert says in refused(spoilt)
    finally:
        plans.write_text(before)


def test_a_fold_outside_the_split(spoilt: Any) -> None:
    assert "holds folds 0 to 1" in refused(spoilt, "911 2d 2")


def test_a_seed_that_is_no_number(spoilt: Any) -> None:
    assert "MSA_SEED is 'one'" in refused(spoilt, MSA_SEED="one")


def test_a_dataset_without_a_foreground_label(spoilt: Any) -> None:
    file = spoilt.preprocessed / DATASET / "dataset.json"
    before = edit(file, lambda content: content.update(labels={"background": 0}))
    try:
        assert "no foreground label" in refused(spoilt)
    finally:
        file.write_text(before)


def test_training_cases_without_a_foreground_pixel(spoilt: Any, write_raw_dataset: Any) -> None:
    write_raw_dataset(spoilt.raw, "Dataset912_Empty", (64, 64), 4, diseased=2)  # fold 0 trains on the other two
    spoilt.do("nnUNetv2_plan_and_preprocess -d 912 -c 2d -np 1 -npfp 1")
    assert "nothing to learn" in refused(spoilt, "912 2d 0")


def test_a_checkpoint_of_another_architecture_ends_resuming_and_predicting_in_one_sentence(
    trained: Any, tmp_path: Path
) -> None:
    own = type(trained)(tmp_path / "own")
    for part in ("trainers", "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        shutil.copytree(trained.root / part, own.root / part)
    model = own.fold(DATASET, 0).parent
    for plans in (own.preprocessed / DATASET / "nnUNetPlans.json", model / "plans.json"):
        edit(plans, lambda c: c["configurations"]["2d"]["architecture"]["arch_kwargs"].update(features_per_stage=[16] * 5))
    commands = [
        "nnUNetv2_train 911 2d 0 -tr MSATrainerTiny -device cpu --c",
        f"nnUNetv2_predict_from_modelfolder -m {model} -f 0 -device cpu -npp 0 -nps 0 "
        f"-i {own.raw / DATASET / 'imagesTs'} -o {tmp_path / 'predicted'}",
    ]
    for command in commands:
        done = own.run(command)
        assert done.returncode != 0
        assert "another architecture" in done.stderr
        assert "Traceback" not in done.stderr, done.stderr[-2000:]
