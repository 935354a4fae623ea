"""What looks wrong between views: the same pixels under two names, one patient under two identifiers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dataset_conversion.quality.flag import Flag, worst_first

# So many cases are named in a sentence.
MOST_NAMED = 3
# So many digits of a hash tell 10,000 views apart.
HASH_DIGITS = 12
# De-identification writes one name and birth date for all: what more patients than this share is no person.
MOST_IDENTIFIERS = 3


@dataclass(frozen=True)
class ViewRecord:
    """One case as checks across the dataset see it.

    patient: pseudonym. study: Study Instance UID, or what stands for it. person: name and birth date in one spelling, or what
    stands for them (a keyed digest); empty if unknown. Both are compared, never written. pixels_sha256: of `ViewStatistics`.
    """

    case: str
    patient: str
    study: str
    person: str
    pixels_sha256: str


def dataset_flags(records: Iterable[ViewRecord]) -> dict[str, list[Flag]]:
    """Compare all cases of a dataset; return the flags of those that have any, worst first."""
    by_pixels: dict[str, list[ViewRecord]] = defaultdict(list)
    by_study: dict[str, list[ViewRecord]] = defaultdict(list)
    by_person: dict[str, list[ViewRecord]] = defaultdict(list)
    for record in records:
        by_pixels[record.pixels_sha256].append(record)
        by_study[record.study].append(record)
        by_person[record.person].append(record)
    flags: dict[str, list[Flag]] = defaultdict(list)
    for digest, same in by_pixels.items():
        for record in same if len(same) > 1 else []:
            others = [other.case for other in same if other is not record]
            sentence = f"Same pixels as {_named(others)} (SHA-256 {digest[:HASH_DIGITS]}); keep one of them."
            flags[record.case].append(Flag("duplicate", "error", sentence))
    by_study.pop("", None)
    by_person.pop("", None)
    persons = {person: same for person, same in by_person.items() if len(_patients(same)) <= MOST_IDENTIFIERS}
    for groups, what in ((by_pixels, "pixels"), (by_study, "Study Instance UID"), (persons, "name and birth date")):
        for same in groups.values():
            _flag_two_identifiers(same, what, flags)
    return {case: worst_first(found) for case, found in flags.items()}


def _flag_two_identifiers(same: Sequence[ViewRecord], what: str, flags: dict[str, list[Flag]]) -> None:
    patients = _patients(same)
    for record in same if len(patients) > 1 else []:
        others = [patient for patient in patients if patient != record.patient]
        sentence = (
            f"Same {what} as in {_named(others)}: one patient under two identifiers would be in training and validation;"
            " give both the same Patient ID."
        )
        flags[record.case].append(Flag("two-identifiers", "error", sentence))


def _patients(records: Iterable[ViewRecord]) -> list[str]:
    return sorted({record.patient for record in records})


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
