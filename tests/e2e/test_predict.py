"""`msa predict` as it is typed, with a model of the stock commands: nnUNetv2_predict's masks, and faults by sentence."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_conversion.annotations import labelme
from dataset_conversion.annotations.outline import AnnotatedView, LesionOutline
from dataset_conversion.dicom_nm import stable_uid, write_study
from dataset_conversion.scintigram import VIEWS, Scintigram
from msa_trainer.environment import nnunet_environment

pytestmark = pytest.mark.e2e

DATASET = "Dataset921_Bone"
SHAPE, SPACING = (96, 64), (2.26, 2.26)
TRAINER = "MSATrainerTiny"
Masks = Callable[[Path], dict[str, np.ndarray]]


def _write_studies(folder: Path, patients: range) -> None:
    """Two-view DICOM studies with a hot disc, and its outline as LabelMe."""
    folder.mkdir()
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    angle = np.arange(32) * (2 * np.pi / 32)
    for patient in patients:
        rng = np.random.default_rng(patient)
        name = f"Meier{patient}"
        scintigrams = []
        for frame, view in enumerate(VIEWS, start=1):
            row, column, radius = *rng.uniform(15, 45, 2), rng.uniform(4, 8)
            disc = (rows + 0.5 - row) ** 2 + (columns + 0.5 - column) ** 2 <= radius**2
            counts = rng.poisson(5 + 60 * disc).astype(np.uint16)
            uids = stable_uid(name), stable_uid(name, "instance")
            scintigrams.append(Scintigram(counts, SPACING, view, f"ZURICH-{patient}", *uids, frame, folder))
            points = np.stack([column + radius * np.cos(angle), row + radius * np.sin(angle)], axis=1)
            outlined = AnnotatedView((LesionOutline("metastasis", points),), *SHAPE)
            labelme.write(folder / f"{name}_{view}.json", outlined, f"{name}.png")
        identity = {"patient_name": "Invented^Person", "patient_sex": "F", "study_date": "20200102"}
        write_study(folder / f"{name}.dcm", scintigrams, **identity, study_description="Bone scan")


@pytest.fixture(scope="module")
def bone(empty_nnunet: Any) -> Any:
    """Both folds of the tiny trainer on a dataset that `msa convert` made, and scans of three new patients as imagesTs too."""
    studies, key = empty_nnunet.root / "studies", empty_nnunet.root / "key"
    _write_studies(studies, range(6))
    empty_nnunet.do(f"msa convert -i {studies} -d 921 -n Bone --folds 2 --key {key}")
    empty_nnunet.do("nnUNetv2_plan_and_preprocess -d 921 -c 2d -np 1 -npfp 1")
    plans = empty_nnunet.preprocessed / DATASET / "nnUNetPlans.json"
    content = json.loads(plans.read_text())
    kwargs = content["configurations"]["2d"]["architecture"]["arch_kwargs"]
    kwargs["features_per_stage"] = [min(8 * 2**i, 32) for i in range(kwargs["n_stages"])]
    plans.write_text(json.dumps(content))
    for fold in (0, 1):
        empty_nnunet.do(f"nnUNetv2_train 921 2d {fold} -tr {TRAINER} -device cpu")
    new = empty_nnunet.root / "new"
    _write_studies(new, range(10, 13))
    for outlines in new.glob("*.json"):
        outlines.unlink()
    empty_nnunet.do(f"msa convert -i {new} -d 922 -n New --unlabelled test --key {key}")
    return empty_nnunet


@pytest.fixture(scope="module")
def stock(bone: Any) -> Path:
    """What nnUNetv2_predict makes of the new scans."""
    output = bone.root / "stock"
    images = bone.raw / "Dataset922_New" / "imagesTs"
    bone.do(f"nnUNetv2_predict -d 921 -c 2d -tr {TRAINER} -f 0 1 -i {images} -o {output} -device cpu -npp 1 -nps 1")
    return output


def _flat(output: Path, masks: Masks) -> dict[str, np.ndarray]:
    return {name: mask for folder in sorted(output.glob("P*")) for name, mask in masks(folder).items()}


def test_converted_images_and_their_dicom_scans_get_the_masks_of_nnunetv2_predict(
    bone: Any, stock: Path, masks: Masks, tmp_path: Path
) -> None:
    expected = masks(stock)
    assert len(expected) == 6
    assert any(mask.any() for mask in expected.values())
    images = bone.raw / "Dataset922_New" / "imagesTs"
    model = f"-m 921 -tr {TRAINER} -f 0 1 -device cpu --key {bone.root / 'key'}"
    bone.do(f"msa predict -i {images} -o {tmp_path / 'images'} {model}")
    found = _flat(tmp_path / "images", masks)
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask)
    said = bone.do(f"msa predict -i {bone.root / 'new'} -o {tmp_path / 'scans'} {model} --labelme")
    assert said.startswith("3 studies: 3 written;")
    scans = _flat(tmp_path / "scans", masks)
    assert sorted(mask.tobytes() for mask in scans.values()) == sorted(mask.tobytes() for mask in expected.values())
    assert {name[:7] for name in scans} == {name[:7] for name in expected}


@pytest.mark.parametrize("options", ["--disable_tta|--no-mirroring", "-f 1|-f 1"])
def test_equal_options_give_equal_masks(bone: Any, masks: Masks, tmp_path: Path, options: str) -> None:
    theirs, ours = options.split("|")
    images = bone.raw / "Dataset922_New" / "imagesTs"
    folds = "" if "-f" in ours else "-f 0 1"
    stock = f"nnUNetv2_predict -d 921 -c 2d -tr {TRAINER} -device cpu -npp 1 -nps 1"
    bone.do(f"{stock} {folds} {theirs} -i {images} -o {tmp_path / 'a'}")
    bone.do(f"msa predict -m 921 -tr {TRAINER} {folds} {ours} -i {images} -o {tmp_path / 'b'} -device cpu")
    expected, found = masks(tmp_path / "a"), _flat(tmp_path / "b", masks)
    assert expected.keys() == found.keys()
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask)


def test_a_models_folder_and_its_exported_zip_give_the_masks_of_the_dataset(bone: Any, tmp_path: Path) -> None:
    archive = tmp_path / "model.zip"
    bone.do(f"nnUNetv2_export_model_to_zip -d 921 -o {archive} -c 2d -tr {TRAINER} -f 0 1 --not_strict")
    folder = bone.fold(DATASET, 0).parent
    written = []
    for number, model in enumerate((f"921 -tr {TRAINER}", str(folder), str(archive))):
        bone.do(
            f"msa predict -i {bone.root / 'new'} -o {tmp_path / str(number)} -m {model} -device cpu --key {bone.root / 'key'}"
        )
        files = (tmp_path / str(number)).glob("P*/*.nii.gz")
        written.append({path.name: path.read_bytes() for path in files})
    assert written[0] == written[1] == written[2]
    assert len(written[0]) == 6


class _Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.place,)


def _trace(folder: Path) -> str:
    """The file that a hostile model would leave: of this test alone, wherever it lands."""
    return f"executed_by_{folder.name}"


def _hostile_pickle(bone: Any, folder: Path) -> Path:
    model = folder / "model"
    shutil.copytree(bone.fold(DATASET, 0).parent, model)
    for checkpoint in model.glob("fold_*/checkpoint_final.pth"):
        checkpoint.write_bytes(pickle.dumps({"network_weights": _Payload(folder / _trace(folder))}))
    return model


def _hostile_zip(bone: Any, folder: Path) -> Path:
    archive = folder / "model.zip"
    source = bone.fold(DATASET, 0).parent
    with zipfile.ZipFile(archive, "w") as file:
        for path in source.rglob("*"):
            file.write(path, f"{DATASET}/{source.name}/{path.relative_to(source)}")
        file.writestr(f"../../../{_trace(folder)}", "outside")
    return archive


def _other_task(bone: Any, folder: Path) -> Path:
    model = folder / "model"
    shutil.copytree(bone.fold(DATASET, 0).parent, model)
    content = json.loads((model / "dataset.json").read_text())
    del content["msa"]  # a dataset that `msa convert` did not make
    (model / "dataset.json").write_text(json.dumps(content))
    return model


def _no_model(bone: Any, folder: Path) -> Path:
    return folder


def _cut_checkpoint(bone: Any, folder: Path) -> Path:
    model = folder / "model"
    shutil.copytree(bone.fold(DATASET, 0).parent, model)
    checkpoint = model / "fold_0" / "checkpoint_final.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-500])
    return model


@pytest.mark.parametrize("make", [_hostile_pickle, _hostile_zip, _other_task, _no_model, _cut_checkpoint])
def test_a_model_that_cannot_be_trusted_or_used_is_refused_and_nothing_is_executed_or_written(
    bone: Any, tmp_path: Path, make: Callable[[Any, Path], Path]
) -> None:
    model = make(bone, tmp_path)
    before = sorted(path for path in tmp_path.rglob("*"))
    done = bone.run(f"msa predict -i {bone.root / 'new'} -o {tmp_path / 'out'} -m {model} -tr {TRAINER} -device cpu")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("msa predict: ")]) == 1, done.stderr
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert not list(tmp_path.parents[1].glob(f"**/{_trace(tmp_path)}"))


def test_a_killed_run_is_gone_on_with_and_an_interrupted_one_says_so(bone: Any, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    _write_studies(scans, range(20, 60))
    command = [
        str(Path(sys.executable).parent / "msa"), "predict", "-i", str(scans), "-o", str(tmp_path / "out"), "-m",
        str(bone.fold(DATASET, 0).parent), "-device", "cpu", "--no-dicom-seg",
    ]  # fmt: skip
    trainers = {"nnUNet_extTrainer": str(bone.root / "trainers"), "nnUNet_def_n_proc": "1"}
    environment = nnunet_environment(bone.root, dict(os.environ) | trainers)
    for number, ending in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        begun = len(list((tmp_path / "out").glob("*/complete.json")))
        running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL)
        give_up = time.monotonic() + 240
        while len(list((tmp_path / "out").glob("*/complete.json"))) < begun + 3 and time.monotonic() < give_up:
            time.sleep(0.02)
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
        assert running.returncode == ending, said
        assert "Traceback" not in said
    assert "msa predict: interrupted" in said
    time.sleep(1)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "40 studies: " in done.stdout
    assert "complete already" in done.stdout
    assert len(list((tmp_path / "out").glob("*/complete.json"))) == 40
    assert not list((tmp_path / "out").glob(".*"))
