"""The memory that predict.py measures is that of the whole process tree, and the committed figures do not grow."""

from __future__ import annotations

import os
import subprocess
import sys

import pandas as pd
import predict

MIB = 2**20
HOLD = f"import sys; held = bytearray(b'x' * (150 * {MIB})); print(len(held), flush=True); sys.stdin.read()"


def test_memory_counts_the_processes_below_a_process() -> None:
    before = predict.tree_memory(os.getpid())
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        assert 150 < predict.tree_memory(os.getpid()) - before < 200
        child.communicate()
    assert predict.tree_memory(os.getpid()) - before < 20


def test_memory_of_a_process_that_has_ended_is_none() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert predict.tree_memory(child.pid) == 0


def test_the_committed_run_takes_no_more_memory_for_its_last_studies_than_for_its_first() -> None:
    table = pd.read_csv(predict.MEMORY_RESULTS, dtype={"until": str}).set_index("until")
    assert list(table.index) == ["10", "30", "60", "report"]
    assert table.peak_pss_mib["60"] < 1.1 * table.peak_pss_mib["10"]
