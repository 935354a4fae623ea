"""`msa demo`: the main job on phantoms and one real scan."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from msa_trainer.commands.command import command

if TYPE_CHECKING:
    from msa_trainer.commands.command import Commands


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = command(
        commands, "demo", "the main job on phantoms and one real scan, about 10 minutes on 2 cores", "msa demo", _run
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="DIR", help="folder to write into")


def _run(arguments: argparse.Namespace) -> int:
    from msa_trainer.demo import run

    return run(arguments.output)
