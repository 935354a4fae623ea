"""One function over many inputs, in worker processes where that is wanted, in order and with a progress bar."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from tqdm import tqdm


def map_in_order(
    function: Callable[..., Any], numbers: Collection[int], *others: Iterable[Any], jobs: int | None, title: str, **fixed: Any
) -> list[Any]:
    """Call `function(number, *others, **fixed)` for every number and return the results in order.

    jobs: worker processes, None for one a core; 1 calls in this process. Raises what a call raises, and BrokenProcessPool where
    a worker was ended.
    """
    work = partial(function, **fixed)
    progress = partial(tqdm, total=len(numbers), desc=title, unit="file", file=sys.stderr, disable=None, delay=2)
    jobs = jobs or os.cpu_count() or 1
    if jobs == 1 or len(numbers) < 2:
        return list(progress(map(work, numbers, *others)))
    with ProcessPoolExecutor(jobs, initializer=begin_worker, initargs=(os.getpid(),)) as pool:
        return list(progress(pool.map(work, numbers, *others)))


def begin_worker(parent: int) -> None:
    """Make this process a worker of `parent` (a process id): one thread a library, and no life after its parent's."""
    import SimpleITK

    # The processes are the parallelism: without this every worker starts threads for all cores.
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A worker whose parent was killed would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
