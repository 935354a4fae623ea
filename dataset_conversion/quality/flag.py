"""What a check says: a flag with a code, a severity and a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class Flag:
    """One thing that looks wrong with a view.

    code: short slug to count and filter by. severity: "error" spoils training or its evaluation, "warning" may, "note" is to be
    known. sentence: what was found, what was expected and what helps; names cases and hashes, never a person.
    """

    code: str
    severity: Severity
    sentence: str


def worst_first(flags: Iterable[Flag]) -> list[Flag]:
    """Errors, then warnings, then notes; each in alphabetical order."""
    return sorted(flags, key=lambda flag: (SEVERITIES.index(flag.severity), flag.code, flag.sentence))
