"""Worker processes that read and write while the network runs, and that may die without anything being lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from dataset_conversion.staging.workers import begin_worker
from msa_trainer.prediction.errors import PredictionError

# A process that dies takes the calls of the others with it: one more attempt than a call that is to blame would need.
ATTEMPTS = 3


@dataclass
class Task:
    """A call in a worker, and what is needed to make it again."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    future: Future[Any]


class Workers:
    """A pool that is started anew where one of its processes was ended; the calls it had are made again.

    Start it before torch is imported: the processes are copies of this one, and torch's threads must not be copied half-way.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool = ProcessPoolExecutor(processes, initializer=_begin, initargs=(os.getpid(),))

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Task:
        """Have a worker call a module's function."""
        try:
            return Task(function, arguments, self._pool.submit(function, *arguments))
        except BrokenProcessPool:
            self._renew()
            return Task(function, arguments, self._pool.submit(function, *arguments))

    def result(self, task: Task) -> Any:
        """Wait for what a call returns, or raise what it raises.

        A call whose process was ended, perhaps by another call, is made again, by itself at last; raises PredictionError where
        that ends its process every time.
        """
        for attempt in range(ATTEMPTS):
            try:
                return task.future.result()
            except (BrokenProcessPool, CancelledError):
                if attempt + 1 < ATTEMPTS:
                    task = self.submit(task.function, *task.arguments)
        raise PredictionError(f"a worker process was ended on it {ATTEMPTS} times, probably for want of memory.")

    def close(self) -> None:
        """End the processes; calls that have not begun are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _renew(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        # Copies of a process that runs torch by now: a fresh interpreter instead.
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(self._processes, spawn, initializer=_begin, initargs=(os.getpid(),))


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to deal with
    begin_worker(parent)
