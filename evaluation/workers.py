"""Many cases on all cores: results in order, a progress bar, the same for any number of processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm import tqdm

from evaluation.errors import UnusableInputError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Starting a process (a second, for its imports) pays off from about so many cases.
_CASES_A_PROCESS = 24
# Handed over at once: few enough for a steady bar, many enough that handing over costs nothing.
_CHUNK = 4


def in_order(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int | None = None, description: str = "evaluate"
) -> Iterator[Result]:
    """Yield function(item) for every item in order. jobs: processes, None: one a core, but none for a few items.

    Processes are spawned, not forked: a fork copies locks that threads of SimpleITK or BLAS may hold, and then waits for ever.
    So function and items must be picklable, and a script that calls this needs `if __name__ == "__main__"`.

    Raises UnusableInputError where a process was killed, and what `function` raises.
    """
    processes = min(jobs, len(items)) if jobs else min(available_cores(), len(items) // _CASES_A_PROCESS)
    if multiprocessing.parent_process() is not None and not jobs:
        processes = 1  # `msa compare` runs evaluations side by side; every one of them taking all cores would be too many
    bar = tqdm(total=len(items), desc=description, unit="case", delay=2, disable=None)
    with bar:
        if processes < 2:
            for item in items:
                yield function(item)
                bar.update()
            return
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_live_and_end_with_the_parent)
        try:
            for result in pool.map(function, items, chunksize=_CHUNK):
                yield result
                bar.update()
        except BrokenProcessPool as error:
            raise UnusableInputError(
                f"a process that measured cases ended after {bar.n} of {len(items)} (killed, or out of memory?); "
                "try again with --jobs 1."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def available_cores() -> int:
    """Cores that this process may use, which in a container or a batch job are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _live_and_end_with_the_parent() -> None:
    """Leave interrupts to the parent, and do not outlive it where it is killed: nobody would wait for the results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
