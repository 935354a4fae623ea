from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from dataset_conversion.quality import pair_flags, view_statistics
from dataset_conversion.scintigram import Scintigram


def _statistics(pairs: list, change: Callable[[np.ndarray], np.ndarray] = lambda counts: counts) -> list:
    return [
        tuple(view_statistics(replace(one.view, counts=change(one.view.counts))) for one in pair) for pair in pairs
    ]  # fmt: skip


def test_swapped_views_are_found_and_others_left_alone(pairs: list) -> None:
    for anterior, posterior in _statistics(pairs):
        assert pair_flags(anterior, posterior) == []
        (flag,) = pair_flags(posterior, anterior)
        assert (flag.code, flag.severity) == ("views-swapped", "error")


def test_a_twentieth_of_the_counts_is_enough(pairs: list) -> None:
    rng = np.random.default_rng(0)
    for anterior, posterior in _statistics(pairs, lambda counts: rng.binomial(counts, 0.05)):
        assert pair_flags(anterior, posterior) == []
        assert len(pair_flags(posterior, anterior)) == 1


def test_two_views_of_the_same_side_are_not_called_swapped(pairs: list, nm1: Scintigram) -> None:
    statistics = _statistics(pairs)
    for side in (0, 1):
        for one, other in pairwise(statistics):
            assert pair_flags(one[side], other[side]) == []
    assert all(pair_flags(view_statistics(nm1), posterior) == [] for _, posterior in statistics)


def test_nothing_is_said_of_pairs_without_crown_or_feet(pairs: list, nm1: Scintigram) -> None:
    cuts: list[Callable[[np.ndarray], np.ndarray]] = [lambda c: c[160:416], lambda c: c[:560], lambda c: c[::-1]]
    for cut in cuts:
        for anterior, posterior in _statistics(pairs, cut):
            assert anterior.figures is None or posterior.figures is None or pair_flags(anterior, posterior) == []
    assert _statistics(pairs, cuts[0])[0][0].figures is None
    assert _statistics(pairs, cuts[2])[0][0].figures is None
    assert view_statistics(nm1).figures is not None
    assert view_statistics(replace(nm1, counts=nm1.counts[:700])).figures is None


def test_the_hash_tells_pixels_and_shape_but_not_the_data_type(make_view: Callable[..., Scintigram]) -> None:
    counts = np.random.default_rng(0).poisson(4, (64, 40))
    digests = [view_statistics(make_view(counts.astype(dtype))).pixels_sha256 for dtype in (np.uint8, ">u2", np.uint32)]
    flipped = view_statistics(make_view(counts[:, ::-1].astype(np.uint16))).pixels_sha256
    reshaped = view_statistics(make_view(counts.reshape(40, 64).astype(np.uint16))).pixels_sha256
    assert len(set(digests)) == 1
    assert len({digests[0], flipped, reshaped}) == 3
    assert len(digests[0]) == hashlib.sha256().digest_size * 2


def test_statistics_are_a_few_numbers_that_a_worker_can_send(pairs: list) -> None:
    statistics = view_statistics(pairs[0][0].view)
    sent = pickle.dumps(statistics)
    assert pickle.loads(sent) == statistics
    assert len(sent) < 1000
