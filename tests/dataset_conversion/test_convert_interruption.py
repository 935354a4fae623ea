"""A conversion killed at any moment leaves the old dataset or the new one, whole, and the next one runs."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dataset_conversion.convert import ConversionOptions, run

KILLS = 60


def _content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def options(study_folder: Path, tmp_path: Path) -> ConversionOptions:
    return ConversionOptions(study_folder, 7, "Bone", tmp_path / "raw", folds=3, key=tmp_path / "key", jobs=1)


def _killed_after(seconds: float, options: ConversionOptions) -> bool:
    """Run a conversion in a process of its own and kill it after a while; True where it was still running."""
    process = multiprocessing.get_context("fork").Process(target=run, args=(options,))
    process.start()
    time.sleep(seconds)
    was_running = process.is_alive()
    process.kill()
    process.join()
    return was_running


@pytest.mark.parametrize("jobs", [1, 2])
def test_kill_9_at_any_moment_leaves_the_old_dataset_or_the_new_one(options: ConversionOptions, jobs: int) -> None:
    place = (options.raw or Path()) / "Dataset007_Bone"
    other = replace(options, channels="anscombe")
    complete = []
    for version in (other, options):
        began = time.monotonic()
        assert run(replace(version, jobs=jobs)) == 0
        window = time.monotonic() - began
        complete.append(_content(place))
    assert complete[0] != complete[1]
    chance = random.Random(jobs)
    seen, interrupted = [], 0
    for number in range(KILLS // jobs):
        killed = _killed_after(chance.uniform(0, window), replace((other, options)[number % 2], jobs=jobs))
        window *= 1.2 if killed else 1 / 1.2  # however slow this machine's forks are, half of the kills come in time
        interrupted += killed
        assert place.is_dir()
        seen.append(complete.index(_content(place)))
    assert interrupted > KILLS // jobs / 3
    assert set(seen) == {0, 1}
    assert run(replace(options, jobs=jobs)) == 0
    assert _content(place) == complete[1]
    assert {path.name for path in (options.raw or Path()).iterdir()} == {"Dataset007_Bone"}


def test_a_first_conversion_that_is_killed_leaves_nothing_that_nnunet_would_see(
    options: ConversionOptions, write_outlines: Callable[..., Path]
) -> None:
    raw = options.raw or Path()
    chance = random.Random(0)
    for _ in range(10):
        _killed_after(chance.uniform(0, 0.3), options)
        finished = list(raw.glob("*")) if raw.exists() else []
        visible = [path for path in finished if not path.name.startswith(".")]
        assert all((path / "manifest.json").is_file() for path in visible)
    assert run(options) == 0
