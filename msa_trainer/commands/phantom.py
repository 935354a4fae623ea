"""`msa phantom`: synthetic annotated studies."""

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
        commands, "phantom", "write synthetic annotated studies (DICOM NM + LabelMe)", "msa phantom -o studies -n 20", _run
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("-n", "--patients", type=int, required=True, help="number of patients")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes")


def _run(arguments: argparse.Namespace) -> int:
    from dataset_conversion.phantom import write_phantom

    studies = write_phantom(arguments.output, arguments.patients, arguments.seed)
    print(f"{len(studies)} studies of {arguments.patients} phantom patients in {arguments.output}")
    return 0
