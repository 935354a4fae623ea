"""How one process gets the most out of a few CPU cores without changing a bit of what it computes."""

from __future__ import annotations

import ctypes
import os
import sys

from msa_trainer.environment import MOST_WORKERS, WORKERS, usable_cores

WAIT = "OMP_WAIT_POLICY"
# glibc's mallopt(3): how it names what is set.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def wait_passively() -> None:
    """Let torch's threads sleep while they wait for each other; has no effect once torch is imported.

    By default they spin. On cores that others use as well (here the processes that read and write) each spins away the time
    that the other needs: 1024x256 px through the full generator on two busy cores took 2.1 to 3.9 CPU-seconds spinning and 1.2
    sleeping, with the same bits; on idle cores there is no difference. A policy that the user set stays.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault(WAIT, "PASSIVE")


def keep_memory() -> None:
    """Have the C library keep freed memory for the next feature map instead of returning it to the system.

    A forward pass of 1024x256 px asks for some hundred maps of up to 33 MB; glibc maps each afresh, and the system clears its
    pages: 170,000 page faults. Kept, a pass takes 0.66 s in the place of 0.85 s on two cores. Without glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, _NEVER)


def threads() -> int:
    """As many as nnUNetv2_predict takes for the network, which the last bits of its sums depend on: the cores, at most 8."""
    asked = os.environ.get(WORKERS, "")
    return max(1, min(usable_cores(), int(asked) if asked.isdigit() else MOST_WORKERS))
