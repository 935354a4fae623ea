from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dataset_conversion.errors import ConversionError
from dataset_conversion.lock import only_one

HOLD = "import sys, time; from pathlib import Path; from dataset_conversion.lock import only_one\n"
HOLD += "with only_one(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def test_a_lock_is_gone_with_its_block_even_when_that_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), only_one(tmp_path / "lock"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with only_one(tmp_path / "lock"):
        assert (tmp_path / "lock").exists()


def test_a_second_conversion_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ConversionError, match="another conversion of this dataset is running"), only_one(tmp_path / "lock"):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "lock").exists()
    with only_one(tmp_path / "lock"):
        pass
    assert not (tmp_path / "lock").exists()
