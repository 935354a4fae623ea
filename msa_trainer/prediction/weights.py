"""Checkpoints read without executing what they hold."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import torch

from msa_trainer.prediction.errors import PredictionError

# What nnU-Net's own trainers log as numpy scalars, under numpy 1 and 2; ours logs plain numbers and needs none of it.
_SCALAR = np.float32(0).__reduce__()[0]
NUMPY_SCALARS: tuple[Any, ...] = (
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")),
)


def read_checkpoint(content: bytes, name: str) -> dict[str, Any]:
    """nnU-Net's checkpoint in `content`, on the CPU, by torch's weights-only reader: tensors and plain values, else nothing.

    Raises PredictionError for one that would execute code or is damaged, or that lacks what nnU-Net's have. name: for messages.
    """
    try:
        checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        checkpoint = _with_numpy_scalars(content, name)
    except Exception as error:  # torch raises whatever its parts raise for a damaged file
        raise _damaged(name, error) from error
    needed = ("network_weights", "trainer_name", "init_args")
    missing = [key for key in needed if key not in checkpoint] if isinstance(checkpoint, dict) else list(needed)
    if missing:
        raise PredictionError(f"{name}: has no {', '.join(missing)}; expected a checkpoint of nnU-Net v2.")
    weights = checkpoint["network_weights"]
    if not isinstance(weights, dict) or not all(isinstance(weight, torch.Tensor) for weight in weights.values()):
        raise PredictionError(f"{name}: network_weights are not named tensors; expected a checkpoint of nnU-Net v2.")
    if not isinstance(checkpoint["init_args"], dict) or not isinstance(checkpoint["init_args"].get("configuration"), str):
        raise PredictionError(f"{name}: does not say which configuration it is of; expected a checkpoint of nnU-Net v2.")
    return dict(checkpoint)


def _with_numpy_scalars(content: bytes, name: str) -> Any:
    try:
        with torch.serialization.safe_globals(list(NUMPY_SCALARS)):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise PredictionError(
            f"{name}: holds more than weights and plain values, and reading it could execute code ({_first_sentence(error)});"
            " nothing of it was executed. Use a checkpoint that nnU-Net wrote, from a source you trust."
        ) from error
    except Exception as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> PredictionError:
    return PredictionError(f"{name}: is damaged or no checkpoint ({_first_sentence(error)}); copy or export the model again.")


def _first_sentence(error: Exception) -> str:
    text = next((line for line in str(error).splitlines() if "GLOBAL" in line or "global" in line), None)
    return (text or (str(error).splitlines() or [type(error).__name__])[0]).strip().rstrip(".")[:160]
