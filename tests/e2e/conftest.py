"""Real nnUNetv2_* commands on a tiny dataset: one planned dataset and two trained folds for all tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from dataset_conversion.network_input import network_input
from msa_trainer.environment import nnunet_environment

BIN = Path(sys.executable).parent
TRAINERS = '''
import os, signal
import torch
from msa_trainer import checkpoint
from msa_trainer.trainer import MSATrainer
from msa_trainer.recipe import AdversaryRecipe
from msa_trainer.variants import MSATrainerStockNetwork

class MSATrainerTiny(MSATrainer):
    """Three epochs of three steps, the adversary on from the first."""
    recipe = AdversaryRecipe(start=0.0, ramp=0.0)

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch, self.save_every = 3, 3, 1, 1

    def train_step(self, batch):
        if os.environ.get("KILL") == f"epoch {self.current_epoch}":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().train_step(batch)

    def save_checkpoint(self, filename):
        if os.environ.get("KILL") == f"writing {self.current_epoch}" and filename.endswith("latest.pth"):
            checkpoint.torch = HalfWritten()
        super().save_checkpoint(filename)

class MSATrainerTinyStock(MSATrainerTiny, MSATrainerStockNetwork):
    """The same with nnU-Net's own network."""

class HalfWritten:
    """In the place of torch: writes the first half of a checkpoint and is killed."""
    def save(self, content, file):
        import io
        whole = io.BytesIO()
        torch.save(content, whole)
        file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        file.flush()
        os.fsync(file.fileno())
        os.kill(os.getpid(), signal.SIGKILL)
'''


@dataclass(frozen=True)
class NNUNet:
    """nnU-Net's folders under `root` and its commands, run as a user would."""

    root: Path

    @property
    def raw(self) -> Path:
        return self.root / "nnUNet_raw"

    @property
    def preprocessed(self) -> Path:
        return self.root / "nnUNet_preprocessed"

    @property
    def results(self) -> Path:
        return self.root / "nnUNet_results"

    def run(self, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one command line, whatever its exit code."""
        program, *arguments = command.split()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("nnUNet_", "MSA_"))}
        clean["nnUNet_extTrainer"] = str(self.root / "trainers")
        workers = {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "2"}
        environment = nnunet_environment(self.root, clean) | workers | variables
        return subprocess.run([str(BIN / program), *arguments], env=environment, capture_output=True, text=True)

    def do(self, command: str, **variables: str) -> str:
        """Run one command line that must succeed; return what it printed."""
        done = self.run(command, **variables)
        assert done.returncode == 0, f"{command} -> {done.returncode}\n{done.stdout[-2500:]}\n{done.stderr[-2500:]}"
        return done.stdout

    def fold(self, dataset: str, fold: int, trainer: str = "MSATrainerTiny", configuration: str = "2d") -> Path:
        return self.results / dataset / f"{trainer}__nnUNetPlans__{configuration}" / f"fold_{fold}"


def write_dataset(
    raw: Path, name: str, shape: tuple[int, ...], cases: int, diseased: int | None = None, counts_channel: bool = False
) -> Path:
    """Poisson images or volumes with bright balls (in the first `diseased`) as nnU-Net raw; the first two again as imagesTs.

    counts_channel: as `msa convert --channels counts` writes it, for which nnU-Net normalises nothing.
    """
    folder = raw / name
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / part).mkdir(parents=True)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    for index in range(cases):
        rng = np.random.default_rng(index)
        label = np.zeros(shape, np.uint8)
        for _ in range(3 if diseased is None or index < diseased else 0):
            centre = rng.uniform(8, np.array(shape) - 8)
            label[((grid - centre) ** 2).sum(-1) <= rng.uniform(2, 5) ** 2] = 1
        mean = 1 if counts_channel else 5  # with zeros, which nnU-Net would crop
        counts = network_input(rng.poisson(mean + 20 * label), "counts" if counts_channel else "zscore")
        targets = [(counts, f"imagesTr/case_{index}_0000"), (label, f"labelsTr/case_{index}")]
        for array, path in targets + ([(counts, f"imagesTs/test_{index}_0000")] if index < 2 else []):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((2.26,) * len(shape))
            sitk.WriteImage(image, str(folder / f"{path}.nii.gz"))
    recipe = {"channel_names": {"0": "noNorm" if counts_channel else "counts"}, "labels": {"background": 0, "metastasis": 1}}
    recipe |= {"msa": {"channels": "counts"}} if counts_channel else {}
    (folder / "dataset.json").write_text(json.dumps(recipe | {"numTraining": cases, "file_ending": ".nii.gz"}))
    names = [f"case_{i}" for i in range(cases)]
    half = cases // 2
    folds = [{"train": names[half:], "val": names[:half]}, {"train": names[:half], "val": names[half:]}]
    (folder / "splits_final.json").write_text(json.dumps(folds))
    return folder


def make_narrow(plans: Path) -> None:
    """Fewer features than planned: a step takes a tenth of the time."""
    content = json.loads(plans.read_text())
    for configuration in content["configurations"].values():
        if "architecture" in configuration:
            kwargs = configuration["architecture"]["arch_kwargs"]
            kwargs["features_per_stage"] = [min(8 * 2**i, 32) for i in range(kwargs["n_stages"])]
    plans.write_text(json.dumps(content))


def _empty(root: Path) -> NNUNet:
    (root / "trainers").mkdir()
    (root / "trainers" / "msa_tiny_trainers.py").write_text(TRAINERS)
    return NNUNet(root)


@pytest.fixture(scope="module")
def empty_nnunet(tmp_path_factory: pytest.TempPathFactory) -> NNUNet:
    """nnU-Net for the datasets of one test module: no other module's files are in its folders."""
    return _empty(tmp_path_factory.mktemp("nnunet"))


@pytest.fixture(scope="session")
def nnunet(tmp_path_factory: pytest.TempPathFactory) -> NNUNet:
    """nnU-Net with Dataset911_Tiny planned and preprocessed by its own command; for reading, all modules share it."""
    nnunet = _empty(tmp_path_factory.mktemp("tiny"))
    write_dataset(nnunet.raw, "Dataset911_Tiny", (64, 64), 6)
    nnunet.do("nnUNetv2_plan_and_preprocess -d 911 -c 2d --verify_dataset_integrity -np 1 -npfp 1")
    make_narrow(nnunet.preprocessed / "Dataset911_Tiny" / "nnUNetPlans.json")
    return nnunet


@pytest.fixture(scope="session")
def trained(nnunet: NNUNet) -> NNUNet:
    """Both folds trained by the stock command, with probabilities of their validation cases."""
    for fold in (0, 1):
        nnunet.do(f"nnUNetv2_train 911 2d {fold} -tr MSATrainerTiny -device cpu --npz")
    return nnunet


@pytest.fixture
def masks() -> Callable[[Path], dict[str, np.ndarray]]:
    """Read every mask of a folder by name."""

    def read(folder: Path) -> dict[str, np.ndarray]:
        return {path.name: sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in sorted(folder.glob("*.nii.gz"))}

    return read


@pytest.fixture(scope="session")
def write_raw_dataset() -> Callable[..., Path]:
    return write_dataset
