"""`msa convert`: annotated scans -> nnU-Net raw dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from msa_trainer.commands.command import command, options_of

if TYPE_CHECKING:
    from msa_trainer.commands.command import Commands


def add(commands: Commands) -> None:
    """Add the command and its options."""
    example = "msa convert -i studies -d 1 -n BoneScan"
    parser = command(commands, "convert", "annotated scans -> nnU-Net raw dataset", example, _run)
    parser.add_argument("-i", "--input", type=Path, required=True, metavar="DIR", help="folder with scans and their outlines")
    parser.add_argument("-d", "--dataset-id", type=int, required=True, metavar="ID", help="nnU-Net dataset number, 1 to 999")
    parser.add_argument("-n", "--name", required=True, help="dataset name; gives DatasetXXX_NAME")
    parser.add_argument("-o", "--raw", type=Path, metavar="RAW", help="where datasets stand (default: $nnUNet_raw)")
    parser.add_argument("--labels", type=Path, metavar="YAML", help="which labels mean which class, are dropped or ignored")
    parser.add_argument("--pairs", type=Path, metavar="CSV", help="table scan, outlines[, view, rater] where names do not tell")
    parser.add_argument(
        "--raters", metavar="RULE", help="where several drew: majority, staple or the name of one (default: refuse)"
    )
    parser.add_argument("--crop", choices=("none", "thorax"), default="none", help="whole view, or 256 x 256 px of thorax")
    parser.add_argument(
        "--views", choices=("single", "paired"), default="single", help="paired: the opposite view is a second channel"
    )
    parser.add_argument(
        "--channels", choices=("zscore", "anscombe", "counts"), default="zscore", help="what is written of the counts"
    )
    parser.add_argument("--pixel-rule", choices=("centre", "labelme"), default="centre", help="which pixels an outline holds")
    parser.add_argument(
        "--format", dest="file_format", choices=("nii.gz", "png"), default="nii.gz", help="png has no place for the pixel size"
    )
    parser.add_argument("--folds", type=int, default=5, metavar="K", help="patient-grouped folds")
    parser.add_argument("--test-fraction", type=float, default=0.0, metavar="F", help="share of the patients kept for testing")
    parser.add_argument(
        "--unlabelled", choices=("skip", "test", "negative"), default="skip",
        help="scans without outlines: leave out, to imagesTs, or declared free of lesions",
    )  # fmt: skip
    parser.add_argument(
        "--spacing",
        type=float,
        nargs=2,
        metavar="MM",
        help="row and column pixel size in mm of pictures and arrays without one",
    )
    parser.add_argument("--allow-lossy", action="store_true", help="take scans that were compressed with loss, with a warning")
    parser.add_argument("--key", type=Path, metavar="FILE", help="key of the pseudonyms, made where it is missing; keep it")
    parser.add_argument("--seed", type=int, default=0, help="of folds and test patients")
    parser.add_argument("-j", "--jobs", type=int, metavar="N", help="worker processes (default: one a core)")


def _run(arguments: argparse.Namespace) -> int:
    from dataset_conversion.convert import ConversionOptions, run

    options = options_of(arguments)
    options["spacing"] = None if arguments.spacing is None else tuple(arguments.spacing)
    return run(ConversionOptions(**options))
