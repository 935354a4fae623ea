from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from msa_trainer.prediction.errors import PredictionError
from msa_trainer.prediction.workers import Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(2)
    yield made
    made.close()


def test_a_call_that_ends_its_process_every_time_fails_and_the_others_do_not(workers: Workers) -> None:
    others = [workers.submit(abs, -number) for number in range(3)]
    deadly = workers.submit(os._exit, 3)
    after = [workers.submit(abs, -number) for number in range(3, 6)]
    with pytest.raises(PredictionError, match="ended on it 3 times"):
        workers.result(deadly)
    assert [workers.result(task) for task in [*others, *after]] == list(range(6))


def test_what_a_call_raises_is_raised(workers: Workers) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        workers.result(workers.submit(int, "x"))
