"""Phantom views as normal scans, and the real one: what the checks must leave alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom.data
import pytest

from dataset_conversion.dicom_nm import read_views
from dataset_conversion.phantom import simulate
from dataset_conversion.rasterise import rasterise
from dataset_conversion.scintigram import Scintigram, View

N_PATIENTS = 6
SPACING_MM = (2.26, 2.26)


@dataclass(frozen=True)
class Labelled:
    """A view with its mask."""

    view: Scintigram
    mask: np.ndarray
    grown: int


def as_view(counts: np.ndarray, view: View = "anterior", spacing_mm: tuple[float, float] = SPACING_MM) -> Scintigram:
    return Scintigram(counts, spacing_mm, view, "patient", "study", "instance", 1, Path("scan.dcm"))


@pytest.fixture(scope="session")
def make_view() -> Callable[..., Scintigram]:
    """Wrap counts as `make_view(counts, view=, spacing_mm=)`."""
    return as_view


@pytest.fixture(scope="session")
def pairs() -> list[tuple[Labelled, Labelled]]:
    """Anterior and posterior view of normal patients with their lesions."""
    made = []
    for patient in range(1, N_PATIENTS + 1):
        anterior, posterior = (
            Labelled(as_view(one.counts, one.view), *rasterise(one.outlines, (one.counts.shape[0], one.counts.shape[1])))
            for one in simulate(patient, seed=5)
        )
        made.append((anterior, posterior))
    return made


@pytest.fixture(scope="session")
def normal(pairs: list[tuple[Labelled, Labelled]]) -> list[Labelled]:
    """The same views, one by one."""
    return [view for pair in pairs for view in pair]


@pytest.fixture(scope="session")
def nm1() -> Scintigram:
    """A real anterior whole-body scan, arms cut off at both sides within zero padding."""
    with pytest.warns(UserWarning, match="states no view"):
        return read_views(Path(pydicom.data.get_testdata_file("JPEG-LL.dcm", download=False)))[0]
