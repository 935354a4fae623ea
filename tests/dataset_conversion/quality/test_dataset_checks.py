from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from dataset_conversion.quality import ViewRecord, dataset_flags


def _record(case: str, patient: str, study: str = "", person: str = "", pixels: str = "") -> ViewRecord:
    return ViewRecord(case, patient, study or f"study of {case}", person, pixels or f"pixels of {case}")


def _codes(*records: ViewRecord) -> dict[str, list[str]]:
    return {case: [flag.code for flag in flags] for case, flags in dataset_flags(records).items()}


def test_different_scans_of_different_patients_raise_no_flag() -> None:
    records = [_record(f"P{n}_01_{view}", f"P{n}", f"study {n}", f"person {n}") for n in range(9) for view in ("ant", "post")]
    assert dataset_flags(records) == {}


def test_the_same_pixels_under_two_names_name_each_other() -> None:
    flags = dataset_flags(
        [_record("P1_01_ant", "P1", pixels="ab" * 32), _record("P1_02_ant", "P1", pixels="ab" * 32), _record("P2_01_ant", "P2")]
    )
    assert {case: [flag.code for flag in found] for case, found in flags.items()} == {
        "P1_01_ant": ["duplicate"],
        "P1_02_ant": ["duplicate"],
    }
    assert "P1_02_ant" in flags["P1_01_ant"][0].sentence
    assert "abababababab" in flags["P1_01_ant"][0].sentence


def test_one_patient_under_two_identifiers_is_known_by_study_person_or_pixels() -> None:
    assert _codes(_record("a", "P1", study="1.2"), _record("b", "P2", study="1.2")) == {
        "a": ["two-identifiers"],
        "b": ["two-identifiers"],
    }
    assert _codes(_record("a", "P1", person="doe 1950"), _record("b", "P2", person="doe 1950")) == {
        "a": ["two-identifiers"],
        "b": ["two-identifiers"],
    }
    assert _codes(_record("a", "P1", pixels="f"), _record("b", "P2", pixels="f")) == {
        "a": ["duplicate", "two-identifiers"],
        "b": ["duplicate", "two-identifiers"],
    }


def test_a_second_identifier_is_named_and_the_first_not_repeated() -> None:
    flags = dataset_flags([_record("a", "P1", study="1.2"), _record("b", "P2", study="1.2")])
    assert flags["a"][0].sentence.startswith("Same Study Instance UID as in P2: ")
    assert flags["b"][0].sentence.startswith("Same Study Instance UID as in P1: ")


def test_an_unknown_person_or_study_joins_nobody() -> None:
    records = [ViewRecord(str(n), f"P{n}", "", "", str(n)) for n in range(3)]
    assert dataset_flags(records) == {}


def test_one_name_for_all_is_what_de_identification_leaves_and_no_person() -> None:
    assert _codes(*(_record(f"c{n}", f"P{n}", person="anonymous 19000101") for n in range(4))) == {}
    assert len(_codes(*(_record(f"c{n}", f"P{n}", person="doe 19500101") for n in range(3)))) == 3


def test_many_copies_are_summed_up() -> None:
    flags = dataset_flags([_record(f"c{n:03d}", "P1", pixels="f") for n in range(100)])
    assert flags["c050"][0].sentence.startswith("Same pixels as c000, c001, c002 and 96 more (SHA-256 f)")


identities = st.text("QXZqxz.^0123456789", min_size=4, max_size=30)


@given(st.lists(st.tuples(identities, identities, st.sampled_from("abc")), min_size=2, max_size=8), st.integers(1, 3))
def test_no_sentence_holds_what_identifies_a_person(rows: list[tuple[str, str, str]], n_patients: int) -> None:
    records = [
        ViewRecord(f"case{n}", f"P{n % n_patients}", f"STUDY{rows[0][0]}", f"PERSON{rows[0][1]}", pixels * 64)
        for n, (_, _, pixels) in enumerate(rows)
    ]
    for flags in dataset_flags(records).values():
        for flag in flags:
            assert not re.search(r"STUDY|PERSON", flag.sentence)
            assert rows[0][0] not in flag.sentence
            assert rows[0][1] not in flag.sentence
