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


def nnunet_environment(root: Path | None, base: Mapping[str, str]) -> dict[str, str]:
    """`base` with nnU-Net's variables: folders under `root`, else those already set, else under ./nnunet.

    The user's own entries in nnUNet_extTrainer stay, ours is added once. Creates the three folders.
    """
    variables = dict(base)
    fallback = Path.cwd() / DEFAULT_ROOT if root is None else root.resolve()
    for name in FOLDERS:
        if root is not None or not variables.get(name):
            variables[name] = str(fallback / name)
        Path(variables[name]).mkdir(parents=True, exist_ok=True)
    entries = [entry for entry in variables.get(EXTERNAL_TRAINERS, "").split(os.pathsep) if entry]
    if str(TRAINER_FOLDER) not in entries:
        entries.append(str(TRAINER_FOLDER))
    variables[EXTERNAL_TRAINERS] = os.pathsep.join(entries)
    variables.setdefault(WORKERS, str(min(MOST_WORKERS, os.cpu_count() or 1)))
    return variables


def exports(root: Path | None, base: Mapping[str, str]) -> str:
    """POSIX shell lines for `eval "$(msa env)"`."""
    variables = nnunet_environment(root, base)
    names = (*FOLDERS, EXTERNAL_TRAINERS, WORKERS)
    return "\n".join(f"export {name}={shlex.quote(variables[name])}" for name in names)


def run_in_environment(command: list[str], root: Path | None, base: Mapping[str, str]) -> int:
    """Run one command in nnU-Net's environment, as env(1) does.

    Returns its exit code; 127 when it is not found, 126 when it cannot be run. Commands installed beside this Python are found
    although their folder may not be on the PATH (cron, SLURM).
    """
    variables = nnunet_environment(root, base)
    beside = str(Path(sys.executable).parent)
    variables["PATH"] = os.pathsep.join([variables.get("PATH", ""), beside])
    program = shutil.which(command[0], path=variables["PATH"])
    if program is None:
        exists = Path(command[0]).is_file()
        reason = "is not executable" if exists else "was not found on the PATH or beside this Python"
        print(f"msa env: {command[0]} {reason}", file=sys.stderr)
        return 126 if exists else 127
    sys.stdout.flush()
    if os.name == "posix":
        try:
            os.execve(program, command, variables)
        except OSError as reason:
            print(f"msa env: {program} cannot be run: {reason.strerror}", file=sys.stderr)
            return 126
    return subprocess.call([program, *command[1:]], env=variables)
