from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from msa_trainer.prediction.errors import PredictionError
from msa_trainer.prediction.model import load_model
from msa_trainer.prediction.model_recipe import ModelRecipe

WriteModel = Callable[..., Path]


def edit(file: Path, **changes: Any) -> None:
    """Change entries of a JSON file, or of a checkpoint; None removes one."""
    is_json = file.suffix == ".json"
    content = json.loads(file.read_text()) if is_json else torch.load(file)
    content = {key: value for key, value in (content | changes).items() if value is not None}
    if is_json:
        file.write_text(json.dumps(content))
    else:
        torch.save(content, file)


def with_recipe(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        recipe = json.loads((folder / "dataset.json").read_text())["msa"] | changes
        edit(folder / "dataset.json", msa=recipe)

    return change


def zipped(folder: Path) -> Path:
    """As nnUNetv2_export_model_to_zip: paths from nnUNet_results on."""
    return Path(
        shutil.make_archive(
            str(folder.parents[1].parent / "model"), "zip", folder.parents[1], folder.relative_to(folder.parents[1])
        )
    )


def test_a_model_says_how_its_images_are_made_and_what_it_was_trained_with(write_model: WriteModel) -> None:
    model = load_model(write_model(channels="counts", views="paired", folds=(0, 1)))
    assert model.recipe == ModelRecipe("none", "paired", "counts", (2.26, 2.26), "centre")
    assert model.labels == {"background": 0, "metastasis": 1}
    assert (model.trainer, model.folds, model.checkpoint) == ("MSATrainer", ("0", "1"), "checkpoint_final.pth")
    assert (len(model.networks), model.mirror_axes) == (2, (1,))
    assert not any(network.training for network in model.networks)


def test_folder_zip_and_dataset_number_give_the_same_model(write_model: WriteModel, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(folds=(0, 1))
    monkeypatch.setenv("nnUNet_results", str(folder.parents[1]))
    models = [load_model(source) for source in (folder, zipped(folder), "7", "007", "Dataset007_Small", folder.parent)]
    assert len({model.sha256 for model in models}) == 1
    expected = models[0].networks[1].state_dict()
    for model in models:
        found = model.networks[1].state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_hash_is_that_of_plans_dataset_and_the_checkpoints_that_were_used(write_model: WriteModel) -> None:
    folder = write_model(folds=(0, 1))
    used = ("plans.json", "dataset.json", "fold_1/checkpoint_final.pth")
    expected = hashlib.sha256(b"".join((folder / name).read_bytes() for name in used)).hexdigest()
    assert load_model(folder, [1]).sha256 == expected
    assert load_model(folder).sha256 != expected


def test_all_folds_are_taken_by_number_and_fold_all_only_where_it_is_the_only_one(write_model: WriteModel) -> None:
    folder = write_model(folds=(10, 2, "all"))
    assert load_model(folder).folds == ("2", "10")
    assert load_model(folder, ["all", 2]).folds == ("all", "2")
    shutil.rmtree(folder / "fold_2")
    shutil.rmtree(folder / "fold_10")
    assert load_model(folder).folds == ("all",)


def test_models_of_one_dataset_are_told_apart_by_trainer(write_model: WriteModel, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = write_model()
    write_model("nnUNetTrainer__nnUNetPlans__2d", trainer="nnUNetTrainer")
    archive = shutil.make_archive(str(ours.parents[2] / "both"), "zip", ours.parents[1])
    monkeypatch.setenv("nnUNet_results", str(ours.parents[1]))
    for source in ("7", archive):
        assert load_model(source).trainer == "MSATrainer"
        assert load_model(source, trainer="nnUNetTrainer").trainer == "nnUNetTrainer"
        with pytest.raises(PredictionError, match=r"MSATrainer__nnUNetPlans__2d.*-tr, -c and -p"):
            load_model(source, trainer="MSATrainerPaper")


FAULTS: list[tuple[Callable[[Path], Any], str]] = [
    (lambda folder: (folder / "plans.json").unlink(), r"has no plans\.json; expected a trained model's folder"),
    (lambda folder: (folder / "dataset.json").unlink(), r"has no dataset\.json"),
    (lambda folder: (folder / "plans.json").write_text("{"), r"plans\.json: is no JSON file .* copy or export"),
    (lambda folder: (folder / "plans.json").write_text("[1]"), r"plans\.json: holds list; expected an object"),
    (lambda folder: (folder / "dataset.json").write_text("[" * 100_000), r"dataset\.json: is no JSON file"),
    (lambda folder: shutil.rmtree(folder / "fold_0"), r"no fold has checkpoint_final\.pth; train it to its end"),
    (lambda folder: (folder / "fold_0/checkpoint_final.pth").rename(folder / "fold_0/checkpoint_best.pth"),
     r"no fold has checkpoint_final\.pth; it has checkpoint_best\.pth: name one with -chk"),
    (lambda folder: edit(folder / "dataset.json", msa=None), r'how its scans were converted \(no "msa"\)\. Convert'),
    (with_recipe(version=2), r"recipe has version 2, this package reads 1"),
    (with_recipe(crop="pelvis"), r"msa\.crop is 'pelvis'; expected none or thorax"),
    (with_recipe(channels=["zscore"]), r"msa\.channels is \['zscore'\]; expected zscore or anscombe or counts"),
    (with_recipe(spacing_mm=[2.26, 0]), r"msa\.spacing_mm is \[2\.26, 0\]; expected two pixel sizes"),
    (with_recipe(views="paired"), r"has 1 channel names; paired views have 2"),
    (lambda folder: edit(folder / "dataset.json", labels={"background": 0, "any": [1, 2]}), r"no regions"),
    (lambda folder: edit(folder / "fold_0/checkpoint_final.pth", init_args={"configuration": "3d_fullres"}),
     r"plans\.json: has no configuration '3d_fullres', which the checkpoint is of"),
    (lambda folder: edit(folder / "plans.json", transpose_forward=None), r"plans\.json: has no transpose_forward"),
    (lambda folder: edit(folder / "fold_0/checkpoint_final.pth", trainer_name="TheirTrainer"),
     r"trainer 'TheirTrainer' is neither nnU-Net's nor of this package"),
    (lambda folder: edit(folder / "fold_0/checkpoint_final.pth", trainer_name="nnUNetTrainer"), r"they are not of one model"),
    (lambda folder: edit(folder / "fold_0/checkpoint_final.pth", inference_allowed_mirroring_axes=(0, 2)), r"axes \(0, 2\)"),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "sentence"), FAULTS, ids=[sentence for _, sentence in FAULTS])
def test_a_folder_that_is_no_whole_model_is_refused_in_a_sentence(
    write_model: WriteModel, fault: Callable[[Path], Any], sentence: str
) -> None:
    folder = write_model()
    fault(folder)
    with pytest.raises(PredictionError, match=sentence) as refusal:
        load_model(folder)
    assert "\n" not in str(refusal.value)


def plan_with(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edited(folder: Path) -> None:
        plans = json.loads((folder / "plans.json").read_text())
        change(plans["configurations"]["2d"])
        (folder / "plans.json").write_text(json.dumps(plans))

    return edited


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda plan: plan.update(patch_size=[16, 64, 32]), r"model for 3-dimensional images .* expected a 2-D one \(-c 2d\)"),
        (lambda plan: plan.pop("patch_size"), r"configuration '2d' is not whole \(KeyError\('patch_size'\)\)"),
        (lambda plan: plan["architecture"]["arch_kwargs"].pop("strides"), r"architecture has no 'strides'"),
        (
            lambda plan: plan["architecture"]["arch_kwargs"].update(features_per_stage=[8, 16, 64]),
            r"holds another architecture",
        ),
    ],
)
def test_plans_that_the_weights_are_not_of_are_refused(
    write_model: WriteModel, change: Callable[[dict[str, Any]], Any], sentence: str
) -> None:
    folder = write_model()
    plan_with(change)(folder)
    with pytest.raises(PredictionError, match=sentence):
        load_model(folder)


def test_what_is_not_there_is_refused(write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model()
    monkeypatch.delenv("nnUNet_results", raising=False)
    for source, sentence in (
        (tmp_path / "nowhere", r"nowhere: is not there; expected a trained model's folder"),
        ("7", r"nnUNet_results, which is not set"),
    ):
        with pytest.raises(PredictionError, match=sentence):
            load_model(source)
    monkeypatch.setenv("nnUNet_results", str(folder.parents[1]))
    for options, sentence in (
        ({"source": "8"}, r"Dataset008_\* is nothing; expected one dataset"),
        (
            {"source": "7", "configuration": "3d_fullres"},
            r"has no MSATrainer__nnUNetPlans__3d_fullres; trained there: MSATrainer__",
        ),
        ({"source": folder, "folds": [0, 4]}, r"has no fold 4 with checkpoint_final\.pth; trained: 0"),
        ({"source": folder, "folds": ["../../x"]}, r"has no fold \.\./\.\./x"),
        ({"source": folder, "device": "abacus"}, r"the device 'abacus' cannot be used here"),
        ({"source": zipped(folder), "configuration": "3d_fullres"}, r"holds no model of configuration 3d_fullres"),
    ):
        with pytest.raises(PredictionError, match=sentence):
            load_model(**options)  # type: ignore[arg-type]
