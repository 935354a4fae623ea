"""How our hooks end a stock nnU-Net command: one sentence on stderr, exit code 1, no traceback."""

from __future__ import annotations


class Refusal(SystemExit):
    """Raised with a sentence that names what was found, what was expected and the remedy."""

    def __init__(self, sentence: str) -> None:
        super().__init__(f"msa-trainer: {sentence}")
