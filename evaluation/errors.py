"""The one exception of evaluation: input that cannot be evaluated."""

from __future__ import annotations


class UnusableInputError(Exception):
    """Input cannot be evaluated; the message is a sentence naming the file, what was expected, found, and the remedy."""
