"""What the benchmarks share: a temporary nnU-Net of their own, its commands, and tables that state their origin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from msa_trainer.environment import nnunet_environment


def environment(root: Path, **variables: str) -> dict[str, str]:
    """nnU-Net's variables for folders under `root`, whatever the shell has set, and two workers."""
    cleared = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
    commands = os.pathsep.join([str(Path(sys.executable).parent), cleared.get("PATH", "")])
    workers = {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "2", "nnUNet_compile": "f"}
    return nnunet_environment(root, cleared) | workers | {"PATH": commands} | variables


def command(arguments: list[str], root: Path, log: Path, **variables: str) -> None:
    """Run one nnU-Net command with its output in `log`. Raises SystemExit with the log's end where it fails."""
    with log.open("a") as file:
        code = subprocess.call(arguments, env=environment(root, **variables), stdout=file, stderr=subprocess.STDOUT)
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise SystemExit(f"{' '.join(arguments)} failed with exit code {code} ({log}):\n{tail}")


def commit() -> str:
    """The checkout's commit, marked where code differs from it; the tables that a benchmark writes are no code."""
    folder = Path(__file__).parents[1]
    code = ["msa_trainer", "evaluation", "dataset_conversion", "benchmarks/*.py"]
    described = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], cwd=folder, capture_output=True, text=True)
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", *code], cwd=folder, capture_output=True).returncode
    return (described.stdout.strip() or "unknown") + ("-dirty" if changed == 1 else "")


def machine() -> str:
    """Machine class: cores and device, no name of it."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{os.cpu_count()} CPU cores, {device}"


def into_document(begin: str, end: str, table: str, name: str = "README.md") -> None:
    """Put a table between two markers of a document of the repository, in the place of the last one."""
    file = Path(__file__).parents[1] / name
    text = file.read_text()
    start, stop = text.index(begin) + len(begin), text.index(end)
    file.write_text(f"{text[:start]}\n{table}\n{text[stop:]}")
