"""The phantom sets of the accuracy benchmark: frozen by seed, parameters and a hash of every byte."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_run import command

from dataset_conversion.phantom import PhantomParameters, write_phantom
from dataset_conversion.phantom.parameters import DEFAULT

# The test set's patients, camera, counts, lesions and annotator differ from those that levers were chosen on.
OTHER_SIMULATOR = replace(
    DEFAULT,
    counts_per_view=(1.2e6, 2.4e6),
    width=(0.85, 1.15),
    scoliosis_mm=(0, 15),
    soft_tissue=(0.3, 0.56),
    kidney_uptake=(0.4, 1.9),
    intrinsic_fwhm_mm=4.2,
    collimator_fwhm_per_mm=0.062,
    lesion_free_share=0.28,
    lesion_diameter_px=(5.5, 0.6),
    lesion_contrast=(1.85, 0.6),
    outline_level=(0.42, 0.58),
)


@dataclass(frozen=True)
class PhantomSet:
    """Studies of `patients` phantom patients (every seventh comes twice), the first `studies` of them.

    sha256: the first ten hex digits over every file; a simulator that draws otherwise is refused, not mixed with old results.
    """

    name: str
    number: int  # nnU-Net's dataset id for channel "zscore"; the other channels count on
    patients: int
    studies: int
    seed: int
    sha256: str
    parameters: PhantomParameters = DEFAULT


CHANNELS = ("zscore", "anscombe", "counts")
# 143 two-view studies are 286 images, as many as the paper has.
TRAINING = PhantomSet("Training", 700, 126, 143, 20251, "d78ca68ad6")
DEVELOPMENT = PhantomSet("Development", 710, 70, 80, 20252, "32f31fd6a5")
TEST = PhantomSet("Test", 720, 70, 80, 20253, "f567bec9c9", OTHER_SIMULATOR)
EVALUATION_SETS = {"development": DEVELOPMENT, "test": TEST}


def write_studies(phantoms: PhantomSet, root: Path) -> Path:
    """The set's DICOM and LabelMe files under `root`; raises SystemExit where they are not the bytes of the results' table."""
    folder = root / "studies" / phantoms.name
    if not folder.is_dir():
        partial = root / "studies" / f"{phantoms.name}.part"
        shutil.rmtree(partial, ignore_errors=True)
        files = write_phantom(partial, phantoms.patients, phantoms.seed, phantoms.parameters)
        for study in sorted(files)[phantoms.studies :]:
            for file in partial.glob(f"{study.stem}[._]*"):
                file.unlink()
        partial.rename(folder)
    found = content_hash(folder)
    if found != phantoms.sha256:
        raise SystemExit(
            f"{folder}: the {phantoms.name} phantom set has the hash {found}, expected {phantoms.sha256}. The simulator has "
            "changed since the table was made: set the new hash in benchmarks/accuracy_sets.py and run all arms again."
        )
    return folder


def content_hash(folder: Path) -> str:
    """First ten hex digits of the SHA-256 over names and bytes of a folder's files."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:10]


def converted(phantoms: PhantomSet, channels: str, root: Path, views: str = "single") -> Path:
    """The nnU-Net raw dataset of a set, thorax crops of 256x256 px, converted where it is not there yet."""
    number = phantoms.number + CHANNELS.index(channels) + (5 if views == "paired" else 0)
    name = f"{phantoms.name}{channels.capitalize()}{'Paired' if views == 'paired' else ''}"
    folder = root / "nnUNet_raw" / f"Dataset{number}_{name}"
    if not (folder / "dataset.json").is_file():
        convert = ["msa", "convert", "-i", str(write_studies(phantoms, root)), "-d", str(number), "-n", name]
        options = ["--crop", "thorax", "--channels", channels, "--views", views, "--key", str(root / "pseudonyms.key")]
        command([*convert, *options], root, root / "convert.txt")
    return folder


def preprocessed(raw: Path, root: Path) -> Path:
    """The training set as nnU-Net preprocesses it."""
    folder = root / "nnUNet_preprocessed" / raw.name
    if not (folder / "done").is_file():
        number = raw.name[len("Dataset") :].split("_")[0]
        plan = ["nnUNetv2_plan_and_preprocess", "-d", number, "-c", "2d", "-np", "2", "-npfp", "2"]
        command(plan, root, root / "plan.txt")
        (folder / "done").touch()
    return folder
