from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from operator import mul
from pathlib import Path

import pytest

from evaluation.errors import UnusableInputError
from evaluation.workers import available_cores, in_order

# What worker processes run has to be importable by them; this module, under pytest, is not.
double = partial(mul, 2)


def test_results_keep_their_order_in_one_process_and_in_two() -> None:
    assert list(in_order(double, range(30), 1)) == list(in_order(double, range(30), 2)) == list(range(0, 60, 2))
    assert list(in_order(double, [], 4)) == []


def test_few_items_start_no_process_and_all_cores_are_those_of_this_process() -> None:
    assert set(in_order(lambda _: os.getpid(), range(5))) == {os.getpid()}  # a lambda could not be sent to another process
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_a_killed_process_is_a_sentence_and_not_a_traceback() -> None:
    with pytest.raises(UnusableInputError, match=r"a process that measured cases ended .*try again with --jobs 1"):
        list(in_order(signal.raise_signal, [signal.SIGKILL] * 8, 2))


def test_what_a_process_raises_comes_through() -> None:
    with pytest.raises(FileNotFoundError):
        list(in_order(os.listdir, ["/"] * 3 + ["/no such folder"], 2))


def test_leaving_early_ends_the_processes() -> None:
    start = time.perf_counter()
    for _ in in_order(time.sleep, [0.01] * 4 + [0.3] * 400, 2):
        break
    assert time.perf_counter() - start < 60
    assert multiprocessing.active_children() == []


def test_processes_do_not_outlive_a_parent_that_was_killed() -> None:
    script = (
        "import multiprocessing, time\n"
        "from evaluation.workers import in_order\n"
        "for _ in in_order(time.sleep, [0.01] * 8 + [300.0] * 8, 2):\n"
        "    print(*[child.pid for child in multiprocessing.active_children()], flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 60
    while any(is_running(pid) for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """A process that has ended but that nobody has waited for is still listed, with the state Z."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
