"""`msa env`: the variables that nnU-Net needs, for a shell to evaluate or for one command to run in."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
EXTERNAL_TRAINERS = "nnUNet_extTrainer"
# The one folder nnU-Net may search: one module that imports the installed package. Pointed at the package or at a repository,
# its look-up would make second copies of the classes or run setup.py.
TRAINER_FOLDER = Path(__file__).resolve().parent / "nnunet_ext"
DEFAULT_ROOT = "nnunet"  # under the current folder, where neither --root nor a variable says otherwise
WORKERS = "nnUNet_def_n_proc"
MOST_WORKERS = 8  # nnU-Net's default, which on two cores is three times slower than two
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as env(1) and every shell


def nnunet_environment(root: Path | None, base: Mapping[str, str]) -> dict[str, str]:
    """`base` with nnU-Net's variables: folders under `root`, else those already set, else under ./nnunet.

    The user's own entries in nnUNet_extTrainer stay, ours is added once. A leading ~ is expanded, which nnU-Net does not do.
    Creates the three folders; raises OSError where one cannot be made.
    """
    variables = dict(base)
    fallback = Path.cwd() / DEFAULT_ROOT if root is None else root.resolve()
    for name in FOLDERS:
        kept = variables.get(name) if root is None else None
        folder = Path(kept).expanduser() if kept else fallback / name
        folder.mkdir(parents=True, exist_ok=True)
        variables[name] = str(folder)
    entries = [str(Path(entry).expanduser()) for entry in variables.get(EXTERNAL_TRAINERS, "").split(os.pathsep) if entry]
    if all(Path(entry).resolve() != TRAINER_FOLDER for entry in entries):
        entries.append(str(TRAINER_FOLDER))
    variables[EXTERNAL_TRAINERS] = os.pathsep.join(entries)
    if not variables.get(WORKERS):
        variables[WORKERS] = str(min(MOST_WORKERS, usable_cores()))
    return variables


def usable_cores() -> int:
    """Cores this process may use: under SLURM or taskset those it was given, not all that the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def exports(root: Path | None, base: Mapping[str, str]) -> str:
    """POSIX shell lines for `eval "$(msa env)"`."""
    variables = nnunet_environment(root, base)
    names = (*FOLDERS, EXTERNAL_TRAINERS, WORKERS)
    return "\n".join(f"export {name}={shlex.quote(variables[name])}" for name in names)


def run_in_environment(command: list[str], root: Path | None, base: Mapping[str, str]) -> int:
    """Run one command in nnU-Net's environment, as env(1) does; on POSIX it takes this process's place.

    Returns its exit code; 127 when it is not found, 126 when it cannot be run. Commands installed beside this Python are found
    although their folder may not be on the PATH (cron, SLURM).
    """
    variables = nnunet_environment(root, base)
    beside = str(Path(sys.executable).parent)
    variables["PATH"] = os.pathsep.join(part for part in (variables.get("PATH"), beside) if part)
    sys.stdout.flush()
    try:
        if os.name == "posix":
            os.execvpe(command[0], command, variables)
        found = shutil.which(command[0], path=variables["PATH"]) or command[0]
        return subprocess.call([found, *command[1:]], env=variables)
    except (FileNotFoundError, NotADirectoryError):
        print(f"msa env: {command[0]} was not found on the PATH or beside this Python", file=sys.stderr)
        return NOT_FOUND
    except OSError as reason:
        print(f"msa env: {command[0]} cannot be run: {reason.strerror}", file=sys.stderr)
        return NOT_EXECUTABLE
