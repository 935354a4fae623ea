"""`msa env`: nnU-Net's variables, printed for a shell or set for one command."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from msa_trainer.commands.command import command

if TYPE_CHECKING:
    from msa_trainer.commands.command import Commands


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = command(
        commands, "env", "print nnU-Net's variables for a shell, or run one command with them", 'eval "$(msa env)"', _run
    )
    parser.add_argument("--root", type=Path, metavar="DIR", help="put nnU-Net's three folders under this one")
    parser.add_argument(
        "program", nargs=argparse.REMAINDER, metavar="-- COMMAND...", help="run this command in the environment"
    )


def _run(arguments: argparse.Namespace) -> int:
    from msa_trainer.environment import exports, run_in_environment

    program = arguments.program[1:] if arguments.program[:1] == ["--"] else arguments.program
    if program:
        return run_in_environment(program, arguments.root, os.environ)
    print(exports(arguments.root, os.environ))
    return 0
