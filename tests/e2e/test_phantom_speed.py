"""`msa phantom` as a user runs it, against the clock: processor time, so that a busy machine does not matter much."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

PATIENTS = 14
VIEWS_A_SECOND_A_CORE = 5


def test_at_least_five_views_a_second_a_core_are_written(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [str(Path(sys.executable).parent / "msa"), "phantom", "-o", str(tmp_path / "studies"), "-n", str(PATIENTS)]
    subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    views = 2 * len(list((tmp_path / "studies").glob("*.dcm")))
    assert views >= 2 * PATIENTS
    assert views / seconds > VIEWS_A_SECOND_A_CORE, f"{views} views in {seconds:.1f} s"
