"""`msa predict`: new scans -> masks, DICOM SEG, lesion tables and a report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from msa_trainer.commands.command import command, options_of

if TYPE_CHECKING:
    from msa_trainer.commands.command import Commands


def add(commands: Commands) -> None:
    """Add the command and its options."""
    example = "msa predict -i scans -o findings -m model.zip"
    parser = command(commands, "predict", "new scans -> masks, DICOM SEG, lesion tables and a report", example, _run)
    parser.add_argument(
        "-i", "--input", type=Path, nargs="+", required=True, metavar="SCANS",
        help="scans (DICOM NM, arrays, converted images) or the folder that holds them",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="folder to write into, one below it a study"
    )
    parser.add_argument(
        "-m", "--model", required=True, help="a trained model's folder or exported zip, or its dataset's number or name"
    )
    parser.add_argument("-f", "--fold", nargs="+", metavar="FOLD", help="folds to ensemble (default: all that are trained)")
    _add_model_options(parser)
    group = parser.add_argument_group("output")
    group.add_argument("--no-dicom-seg", dest="dicom_seg", action="store_false", help="write no DICOM SEG for DICOM scans")
    group.add_argument("--labelme", action="store_true", help="outlines to correct by hand and convert again")
    group.add_argument("--save-probabilities", action="store_true", help="CASE.npz, as nnU-Net writes them")
    group.add_argument("--anonymise", action="store_true", help="the SEG carries the pseudonym in place of the patient")
    group.add_argument("--key", type=Path, metavar="FILE", help="key of the pseudonyms, made where it is missing; keep it")
    parser.add_argument(
        "--spacing", type=float, nargs=2, metavar="MM", help="row and column pixel size in mm of scans that state none"
    )
    parser.add_argument("--allow-lossy", action="store_true", help="take scans that were compressed with loss, with a warning")
    parser.add_argument(
        "-j", "--jobs", type=int, default=2, metavar="N", help="processes that read and write beside the network"
    )


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model", "-tr, -c and -p tell apart the models of one dataset")
    group.add_argument("-tr", "--trainer", default="MSATrainer", help="trainer it was trained with")
    group.add_argument("-c", "--configuration", default="2d", help="nnU-Net's configuration")
    group.add_argument("-p", "--plans", default="nnUNetPlans", help="nnU-Net's plans")
    group.add_argument("-chk", "--checkpoint", default="checkpoint_final.pth", help="checkpoint of each fold")
    group.add_argument("-device", "--device", default="auto", help="cpu, cuda, cuda:1, mps; auto: cuda where there is one")
    group.add_argument(
        "--no-mirroring", dest="mirroring", action="store_false", help="run each image once, not its mirror images too"
    )


def _run(arguments: argparse.Namespace) -> int:
    from msa_trainer.prediction.batch import run
    from msa_trainer.prediction.network import open_network
    from msa_trainer.prediction.options import PredictOptions

    options = options_of(arguments)
    options["input"] = tuple(arguments.input)
    options["fold"] = None if arguments.fold is None else tuple(arguments.fold)
    options["spacing"] = None if arguments.spacing is None else tuple(arguments.spacing)
    return run(PredictOptions(**options), open_network)
