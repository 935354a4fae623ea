from __future__ import annotations

import os
import subprocess
import sys

import pytest

from msa_trainer.prediction import processor

FAULTS = """
import resource
from msa_trainer.prediction import processor
if {kept}:
    processor.keep_memory()
buffers = bytearray(40 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    del buffers
    buffers = bytearray(40 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_memory_that_is_kept_is_not_faulted_in_again() -> None:
    thrown, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS.format(kept=kept)], capture_output=True, text=True, check=True).stdout)
        for kept in (False, True)
    )
    assert thrown > 10 * kept + 1000


def test_threads_sleep_while_they_wait_unless_the_user_or_torch_was_first() -> None:
    code = "import os; from msa_trainer.prediction import processor as p; p.wait_passively(); print(os.environ.get(p.WAIT))"
    clean = {name: value for name, value in os.environ.items() if name != processor.WAIT}
    for before, environment, expected in (
        ("", clean, "PASSIVE"),
        ("", clean | {processor.WAIT: "ACTIVE"}, "ACTIVE"),
        ("import torch; ", clean, "None"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", before + code], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected


@pytest.mark.parametrize(("asked", "cores", "expected"), [("", 2, 2), ("", 64, 8), ("1", 4, 1), ("16", 4, 4), ("many", 2, 2)])
def test_threads_are_nnunets(monkeypatch: pytest.MonkeyPatch, asked: str, cores: int, expected: int) -> None:
    monkeypatch.setenv("nnUNet_def_n_proc", asked)
    monkeypatch.setattr(processor, "usable_cores", lambda: cores)
    assert processor.threads() == expected
