"""What `msa predict` was asked for, and what of it cannot work."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from dataset_conversion.convert import KEY_NAME
from msa_trainer.prediction.errors import PredictionError


@dataclass(frozen=True)
class PredictOptions:
    """What `msa predict` was asked for.

    model: folder or exported zip of a trained model, or a dataset's number, of which `trainer`, `configuration` and `plans`
    tell the model apart. fold: None for all that were trained. key: of the pseudonyms, default msa_pseudonym.key beside the
    output. spacing: (row, column) pixel size in mm for scans that state none. jobs: reading and writing processes.
    """

    input: tuple[Path, ...]
    output: Path
    model: str
    fold: tuple[str, ...] | None = None
    trainer: str = "MSATrainer"
    configuration: str = "2d"
    plans: str = "nnUNetPlans"
    checkpoint: str = "checkpoint_final.pth"
    device: str = "auto"
    mirroring: bool = True
    dicom_seg: bool = True
    labelme: bool = False
    save_probabilities: bool = False
    anonymise: bool = False
    key: Path | None = None
    spacing: tuple[float, float] | None = None
    allow_lossy: bool = False
    jobs: int = 2


def checked_key(options: PredictOptions) -> Path:
    """Where the key of the pseudonyms lies; raises PredictionError for options that cannot work, before anything is loaded."""
    if options.jobs < 1:
        raise PredictionError(f"--jobs is {options.jobs}; expected at least 1.")
    if options.spacing is not None and not all(0 < mm < float("inf") for mm in options.spacing):
        raise PredictionError(f"--spacing is {options.spacing[0]:g} {options.spacing[1]:g}; expected two positive sizes in mm.")
    if options.dicom_seg and find_spec("highdicom") is None:
        raise PredictionError('writing DICOM SEG needs highdicom: pip install "msa-trainer[seg]", or pass --no-dicom-seg.')
    if options.output.exists() and not options.output.is_dir():
        raise PredictionError(f"{options.output}: is a file; name a folder to write into.")
    inside = [path for path in options.input if path.resolve().is_relative_to(options.output.resolve())]
    if inside:
        raise PredictionError(f"{inside[0]}: lies in the output folder, which is not searched; choose another output.")
    key = options.key or options.output.absolute().parent / KEY_NAME
    if key.resolve().is_relative_to(options.output.resolve()):
        raise PredictionError(f"{key}: the key must not lie in the output: whoever gets both can name the patients.")
    return key
