"""Lesion probabilities as nnUNetv2_predict --save_probabilities writes them, and a lesion's confidence."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import UnusableInputError

Confidence = Literal["max", "mean"]
CONFIDENCES: tuple[Confidence, ...] = get_args(Confidence)

# nnU-Net averages folds and mirrored images in half precision, so a probability can exceed 1 by a rounding.
_ROUNDING = 1e-2


def read_lesion_probability(path: Path, shape: tuple[int, ...], *, has_regions: bool = False) -> NDArray[np.float32]:
    """Probability of any lesion label in every pixel, (H, W) or (D, H, W) as `shape`, from an .npz file of nnU-Net.

    The file's array "probabilities" has shape (classes, D, H, W), for 2-D images (classes, 1, H, W), in the pixel order of
    the predicted mask (nnunetv2.inference.export_prediction turns it back). Class 0 is the background, so the probability of
    a lesion is 1 - p[0]; with regions there is no background, and it is that of the likeliest region.

    Raises UnusableInputError: unreadable file, no such array, another shape, values that are no probabilities.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            if not isinstance(content, np.lib.npyio.NpzFile) or "probabilities" not in content.files:
                raise UnusableInputError(
                    f'{path}: expected an array "probabilities" as nnUNetv2_predict writes it; found none.'
                )
            classes = content["probabilities"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, TypeError) as error:
        raise UnusableInputError(
            f"{path}: cannot be read as probabilities of nnU-Net ({type(error).__name__}: {error})."
        ) from error
    expected = (1, *shape) if len(shape) == 2 else shape
    if classes.ndim != len(expected) + 1 or classes.shape[1:] != expected or len(classes) < (1 if has_regions else 2):
        raise UnusableInputError(
            f"{path}: probabilities have shape {classes.shape}; expected (classes, {', '.join(map(str, expected))}), "
            "the shape of the reference mask. They belong to another case or another conversion."
        )
    if classes.dtype.kind != "f":
        raise UnusableInputError(f"{path}: probabilities are of type {classes.dtype}; expected floating-point numbers.")
    probability = classes.max(axis=0) if has_regions else 1 - classes[0].astype(np.float32)
    if np.isnan(classes).any():
        place = tuple(int(i) for i in np.argwhere(np.isnan(classes))[0])
        raise UnusableInputError(f"{path}: found NaN at index {place} of the probabilities; predict this case again.")
    if not (classes.min() >= -_ROUNDING and classes.max() <= 1 + _ROUNDING):
        bad = classes[(classes < -_ROUNDING) | (classes > 1 + _ROUNDING)][0]
        raise UnusableInputError(f"{path}: found the value {bad:g}; expected probabilities from 0 to 1 (logits were saved?).")
    return np.asarray(probability, np.float32).reshape(shape)


def lesion_confidence(
    labels: NDArray[np.int32], number: int, probability: NDArray[np.floating], kind: Confidence = "max"
) -> NDArray[np.float64]:
    """Confidence of lesions 1..number, shape (number,): the highest or the mean probability of a lesion's pixels."""
    where = np.flatnonzero(labels)
    lesion, values = labels.ravel()[where], probability.ravel()[where].astype(float)
    if kind == "mean":
        pixels = np.bincount(lesion, minlength=number + 1)[1:]
        return np.bincount(lesion, weights=values, minlength=number + 1)[1:] / pixels
    highest = np.full(number + 1, -np.inf)
    np.maximum.at(highest, lesion, values)
    return highest[1:]
