"""What the grey values alone tell: clipped, rescaled or stretched counts, and text burned into the pixels."""

from __future__ import annotations

import numpy as np

# A true maximum is one pixel or two (up to 9 among 60 phantom views of 0.03 million counts); a clipped bladder is dozens.
CLIPPED_PIXELS = 16
# Where the maximum is the most that 8, 10, 12, 15 or 16 bits hold, fewer are no coincidence.
LIMITS = (255, 1023, 4095, 32767, 65535)
CLIPPED_PIXELS_AT_LIMIT = 4
# It also stands out from the values just below it, which in a low-count scan are shared by many pixels as well.
CLIPPED_RATIO = 4
# Below this many distinct values ties are the rule, and neither clipping nor gaps nor glyphs can be told.
FEWEST_VALUES = 16
# Poisson counts take every value up to their median; of a scan rescaled by a factor f only one in f is taken.
TAKEN_SHARE = 0.7
# Text has one value in all its pixels, its neighbours in the histogram have next to none; one letter in the smallest font
# that a console burns in is about 15 px, a word is more.
TEXT_PIXELS = 30
TEXT_RATIO = 5
# Its edge falls to the background within one pixel; the camera needs three at least.
TEXT_EDGE = 0.33


def repeated_share(counts: np.ndarray) -> float:
    """Share of adjacent rows, or of adjacent columns if that is larger, that are identical, among those that are not constant.

    Stretching by nearest neighbour by a factor f > 1 makes it 1 - 1/f; rows of real counts hardly ever repeat.
    """
    return max(_repeated_rows(counts), _repeated_rows(counts.T))


def _repeated_rows(counts: np.ndarray) -> float:
    varies = counts.max(axis=1) > counts.min(axis=1)
    if varies.sum() < 2:
        return 0.0
    same = (counts[1:] == counts[:-1]).all(axis=1) & varies[1:]
    return float(same.sum() / (varies.sum() - 1))


def histogram(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values of non-negative whole counts, ascending, and how many pixels have each."""
    highest = int(counts.max())
    if highest <= np.iinfo(np.uint16).max:
        number = np.bincount(counts.ravel(), minlength=highest + 1)
        values = np.flatnonzero(number)
        return values, number[values]
    values, number = np.unique(counts, return_counts=True)
    return values, number


def clipped_pixels(values: np.ndarray, number: np.ndarray) -> int:
    """How many pixels share the maximum because counts above it were cut off; 0 where they were not."""
    if len(values) < FEWEST_VALUES:
        return 0
    at_maximum, below = int(number[-1]), float(number[-5:-1].mean())
    fewest = CLIPPED_PIXELS_AT_LIMIT if values[-1] in LIMITS else CLIPPED_PIXELS
    return at_maximum if at_maximum >= fewest and at_maximum >= CLIPPED_RATIO * below else 0


def has_gaps(values: np.ndarray, number: np.ndarray) -> bool:
    """Whether values between the lowest and the median of those above it are missing, as after rescaling to a grey range."""
    if len(values) < FEWEST_VALUES:
        return False
    above = np.cumsum(number[1:])
    median = values[1 + int(np.searchsorted(above, above[-1] / 2))]
    possible = int(median - values[0])
    taken = int(np.count_nonzero(values <= median)) - 1
    return possible >= FEWEST_VALUES / 2 and taken < TAKEN_SHARE * possible


def text_values(counts: np.ndarray, values: np.ndarray, number: np.ndarray) -> dict[int, int]:
    """Values that look like burned-in text and their pixels: shared by many, rare beside them, bounded by an edge of one pixel.

    The heuristic sees bright text in one grey value, anywhere in the image. It misses smoothed (anti-aliased) letters, text
    darker than its surroundings and text recompressed with loss.
    """
    if len(values) < FEWEST_VALUES:
        return {}
    padded = np.concatenate([[0, 0], number, [0, 0]])
    beside = np.max([padded[:-4], padded[1:-3], padded[3:-1], padded[4:]], axis=0)
    stands_out = (number >= TEXT_PIXELS) & (number >= TEXT_RATIO * beside) & (np.arange(len(values)) >= FEWEST_VALUES / 2)
    found = {}
    for value in values[stands_out]:
        is_value = counts == value
        beside_it = _dilated(is_value) & ~is_value
        if np.median(counts[beside_it]) < TEXT_EDGE * value:
            found[int(value)] = int(is_value.sum())
    return found


def _dilated(mask: np.ndarray) -> np.ndarray:
    wider = mask.copy()
    wider[1:] |= mask[:-1]
    wider[:-1] |= mask[1:]
    wider[:, 1:] |= mask[:, :-1]
    wider[:, :-1] |= mask[:, 1:]
    return wider
