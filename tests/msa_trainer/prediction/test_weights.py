from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from msa_trainer.prediction.errors import PredictionError
from msa_trainer.prediction.weights import read_checkpoint

CHECKPOINT: dict[str, Any] = {
    "network_weights": {"a.weight": torch.arange(6.0).reshape(2, 3)},
    "trainer_name": "MSATrainer",
    "init_args": {"configuration": "2d"},
}


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class Evaluate(Touch):
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"__import__('pathlib').Path({str(self.path)!r}).touch()",)


def saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_a_checkpoint_of_plain_values_is_read() -> None:
    found = read_checkpoint(saved(CHECKPOINT), "fold_0")
    assert torch.equal(found["network_weights"]["a.weight"], CHECKPOINT["network_weights"]["a.weight"])


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.int32, np.bool_])
def test_nnunets_own_may_hold_numpy_scalars(kind: type) -> None:
    content = saved(CHECKPOINT | {"_best_ema": kind(1), "logging": {"ema": [kind(0)]}})
    assert read_checkpoint(content, "fold_0")["_best_ema"] == 1


@pytest.mark.parametrize("kind", [Touch, Evaluate])
@pytest.mark.parametrize("place", ["logging", "network_weights", "top"])
def test_a_hostile_pickle_ends_in_a_sentence_and_executes_nothing(tmp_path: Path, kind: type[Touch], place: str) -> None:
    trap = tmp_path / "executed"
    content = saved(kind(trap) if place == "top" else CHECKPOINT | {place: {"a.weight": kind(trap)}})
    with pytest.raises(PredictionError, match=r"fold_0: holds more than weights .* nothing of it was executed"):
        read_checkpoint(content, "fold_0")
    assert not trap.exists()
    torch.load(io.BytesIO(content), weights_only=False)
    assert trap.exists()  # the trap works


def test_a_bare_pickle_executes_nothing_either(tmp_path: Path) -> None:
    with pytest.raises(PredictionError, match="fold_0"):
        read_checkpoint(pickle.dumps(Touch(tmp_path / "executed")), "fold_0")
    assert not (tmp_path / "executed").exists()


def test_numpy_arrays_and_other_numpy_functions_stay_forbidden() -> None:
    with pytest.raises(PredictionError, match="holds more than weights"):
        read_checkpoint(saved(CHECKPOINT | {"logging": np.arange(3)}), "fold_0")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", saved(CHECKPOINT)[:-200], saved(CHECKPOINT)[:100]])
def test_a_damaged_file_is_named(content: bytes) -> None:
    with pytest.raises(PredictionError, match=r"^fold_0: "):
        read_checkpoint(content, "fold_0")


def test_a_zip_that_is_no_checkpoint_is_named() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("letter.txt", "text")
    with pytest.raises(PredictionError, match="fold_0: is damaged or no checkpoint"):
        read_checkpoint(buffer.getvalue(), "fold_0")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([1, 2], "has no network_weights, trainer_name, init_args"),
        ({"network_weights": {}}, "has no trainer_name, init_args"),
        (CHECKPOINT | {"network_weights": {"a": 1}}, "network_weights are not named tensors"),
        (CHECKPOINT | {"init_args": {}}, "does not say which configuration it is of"),
        (CHECKPOINT | {"init_args": 3}, "does not say which configuration it is of"),
    ],
)
def test_what_is_no_checkpoint_of_nnunet_is_refused(content: Any, sentence: str) -> None:
    with pytest.raises(PredictionError, match=f"fold_0: {sentence}"):
        read_checkpoint(saved(content), "fold_0")
