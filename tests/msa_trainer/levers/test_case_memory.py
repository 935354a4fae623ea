"""Kept cases are the disk's, whatever is written into them; big ones and what is over the budget are not kept."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from msa_trainer.levers.case_memory import CaseMemory


@pytest.fixture
def cases(store_cases: Callable[..., Any]) -> Any:
    rng = np.random.default_rng(0)
    return store_cases({name: (rng.random((1, 32, 32)), rng.integers(0, 2, (32, 32))) for name in "abc"})


def assert_as_on_disk(memory: CaseMemory, cases: Any, identifier: str) -> None:
    ours, theirs = memory.load_case(identifier), cases.load_case(identifier)
    assert ours[2] is theirs[2] is None
    for a, b in zip(ours[:2], theirs[:2], strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a[:], b[:])
    assert ours[3].keys() == theirs[3].keys()
    assert np.array_equal(ours[3]["class_locations"][1], theirs[3]["class_locations"][1])


def test_a_case_stays_the_disks_whatever_is_written_into_it(cases: Any) -> None:
    memory = CaseMemory(cases)
    for _ in range(3):
        assert_as_on_disk(memory, cases, "a")
        image, segmentation, _, properties = memory.load_case("a")
        image[:], segmentation[:] = -1, 5
        properties["class_locations"] = {}
    assert list(memory._kept) == ["a"]
    assert memory.identifiers == ["a", "b", "c"]


def test_the_first_cases_are_kept_up_to_the_budget(cases: Any) -> None:
    places = cases.load_case("a")[3]["class_locations"][1].nbytes
    one = 32 * 32 * 5 + places  # float32 and int8
    memory = CaseMemory(cases, budget_bytes=int(1.5 * one))
    for identifier in "abcabc":
        assert_as_on_disk(memory, cases, identifier)
    assert list(memory._kept) == ["a"]


def test_of_a_big_case_nothing_is_unpacked(cases: Any) -> None:
    memory = CaseMemory(cases, largest_bytes=1000)
    image, *_ = memory.load_case("a")
    assert type(image) is type(cases.load_case("a")[0])
    assert not memory._kept


def test_a_worker_that_gets_it_pickled_starts_empty_with_the_whole_budget(cases: Any) -> None:
    memory = CaseMemory(cases)
    memory.load_case("a")
    copy = pickle.loads(pickle.dumps(memory))
    assert not copy._kept
    assert copy._left == CaseMemory(cases)._left > memory._left
    assert_as_on_disk(copy, cases, "b")
    assert list(memory._kept) == ["a"]
