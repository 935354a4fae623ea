"""`msa ...`: the parser, exit codes and errors; a command imports what it needs when it runs, so that help answers at once."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from msa_trainer import __version__
from msa_trainer.commands import compare, convert, demo, env, evaluate, info, phantom, predict

NOTHING_DONE, INTERRUPTED = 2, 130
DESCRIPTION = "Bone metastases on planar bone scans inside nnU-Net v2: conversion, training, evaluation. Research use only."


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 partial, 2 nothing done (usage, bad input)."""
    try:
        try:
            return _run(_parser().parse_args(argv))
        finally:  # here, and not when Python ends: a closed pipe is dealt with below, for --help too
            sys.stdout.flush()
    except BrokenPipeError:  # `msa info | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(arguments: argparse.Namespace) -> int:
    command: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return command(arguments)
    except KeyboardInterrupt:
        print(f"msa {arguments.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as reason:
        print(f"msa {arguments.command}: {reason.filename or 'output'}: {reason.strerror or reason}", file=sys.stderr)
    except _bad_input() as reason:
        print(f"msa {arguments.command}: {reason}", file=sys.stderr)
    return NOTHING_DONE


def _bad_input() -> tuple[type[Exception], ...]:
    """What the packages raise with a sentence for the user; imported only once something was raised."""
    from dataset_conversion.errors import ConversionError
    from evaluation.errors import UnusableInputError

    return ConversionError, UnusableInputError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="msa", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"msa-trainer {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for each in (env, info, phantom, convert, predict, evaluate, compare, demo):
        each.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
