"""`msa info`: versions, devices, and whether training can start."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from msa_trainer.commands.command import command

if TYPE_CHECKING:
    from msa_trainer.commands.command import Commands

CANNOT_TRAIN = 1


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = command(commands, "info", "versions, devices, and whether training can start", "msa info --json", _run)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(arguments: argparse.Namespace) -> int:
    from msa_trainer.info import as_json, as_text, collect

    found = collect(os.environ)
    print(as_json(found) if arguments.json else as_text(found))
    return 0 if found["can_train"] else CANNOT_TRAIN
