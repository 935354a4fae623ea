"""What a reader's label means: a class, nnU-Net's ignore label, or nothing (dropped); from `labels.yaml` or the default."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dataset_conversion.annotations.outline import AnnotatedView
from dataset_conversion.errors import ConversionError
from dataset_conversion.rasterise import PixelRule, draw

# Spellings of the one foreground class without a labels file. "1" is what a mask image has instead of a name; 255 is not among
# them, because in masks of several classes it often means "ignore": a labels file has to say which.
LESION_LABELS = ("metastasis", "metastases", "metastatic", "lesion", "1")
# nnU-Net's names for what is no class of ours.
BACKGROUND, IGNORE = "background", "ignore"
SECTIONS = ("classes", "drop", "ignore")
# Labels are 8-bit: 0 is background and the highest may be ignore.
MOST_CLASSES = 254
# PyYAML reads some 100 kB/s; a list of labels has a few kB.
LARGEST_FILE = 64 << 10
# How many spellings an error message lists.
_SPELLINGS_SHOWN = 12


@dataclass(frozen=True)
class LabelMap:
    """The classes in the order of their numbers 1..n, each with its spellings, and which labels to drop or to ignore.

    `labels.yaml` looks like this; `drop` and `ignore` may be left out, and a class's own name is always one of its spellings:

        classes:
          metastasis: [metastasis, Metastase, 转移, "1"]
          benign: [degenerative, fracture]
        drop: [bladder, injection site]
        ignore: [unclear]

    Spellings match without regard to case, spaces and Unicode's equivalent forms. What is dropped becomes background; pixels
    to ignore get nnU-Net's ignore label, which counts neither for nor against a prediction in training.
    """

    classes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"metastasis": LESION_LABELS})
    drop: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    @classmethod
    def from_file(cls, path: Path) -> LabelMap:
        """Read a labels file; raises ConversionError where it is no such YAML or gives one spelling two meanings."""
        content = _load(path)
        if not isinstance(content, dict) or not isinstance(content.get("classes"), dict) or not content["classes"]:
            raise ConversionError(f'{path}: expected "classes:" with at least one class and its spellings, as in the README.')
        other = [key for key in content if key not in SECTIONS]
        if other:
            raise ConversionError(f"{path}: has the section {other[0]!r}; expected {', '.join(SECTIONS)}.")
        classes = {_class_name(name, path): _spellings(path, name, value) for name, value in content["classes"].items()}
        if len(classes) > MOST_CLASSES:
            raise ConversionError(f"{path}: has {len(classes)} classes, expected at most {MOST_CLASSES} (8-bit labels).")
        drop, ignore = (_spellings(path, section, content.get(section)) for section in SECTIONS[1:])
        labels = cls(classes, drop, ignore)
        labels._require_one_meaning(path)
        return labels

    @property
    def expected(self) -> str:
        """The known labels as words for an error message, at most a dozen of them."""
        spellings = list(dict.fromkeys(spelling for spelling, _ in self._spelled()))
        listed = " or ".join(spellings[:_SPELLINGS_SHOWN])
        return listed + (f" or one of {len(spellings) - _SPELLINGS_SHOWN} more" if len(spellings) > _SPELLINGS_SHOWN else "")

    @property
    def ignore_value(self) -> int | None:
        """The number of the ignore label, one above the last class as nnU-Net wants it; None where nothing is ignored."""
        return len(self.classes) + 1 if self.ignore else None

    def value(self, label: str) -> int | None:
        """Number in the mask that a label stands for; 0 where it is dropped, None where it is unknown."""
        return self._values.get(_folded(label))

    def unknown(self, view: AnnotatedView) -> list[tuple[int, str]]:
        """The outlines whose label stands in no list: their 1-based number in the view, and the label."""
        return [(number, one.label) for number, one in enumerate(view.outlines, start=1) if self.value(one.label) is None]

    def dataset_labels(self) -> dict[str, int]:
        """The `labels` of nnU-Net's dataset.json: background 0, the classes 1..n, ignore (where there is one) n + 1."""
        labels = {BACKGROUND: 0, **{name: number for number, name in enumerate(self.classes, start=1)}}
        return labels if self.ignore_value is None else {**labels, IGNORE: self.ignore_value}

    def is_lesion(self, mask: np.ndarray) -> np.ndarray:
        """Tell the pixels of any class from background and from ignored ones; (H, W) bool of a mask by `label_mask`."""
        lesion: np.ndarray = (mask > 0) & (mask <= len(self.classes))
        return lesion

    @cached_property
    def _values(self) -> dict[str, int]:
        return {_folded(spelling): value for spelling, value in self._spelled()}

    def _spelled(self) -> Iterator[tuple[str, int]]:
        for number, (name, spellings) in enumerate(self.classes.items(), start=1):
            yield from ((spelling, number) for spelling in (name, *spellings))
        yield from ((spelling, 0) for spelling in self.drop)
        yield from ((spelling, len(self.classes) + 1) for spelling in self.ignore)

    def _require_one_meaning(self, path: Path) -> None:
        names = [*self.dataset_labels(), "drop"]
        names[0] = "drop"
        met: dict[str, int] = {}
        for spelling, value in self._spelled():
            earlier = met.setdefault(_folded(spelling), value)
            if earlier != value:
                raise ConversionError(
                    f"{path}: the label {spelling!r} stands under {names[earlier]} and under {names[value]}; keep one."
                )


def label_mask(view: AnnotatedView, labels: LabelMap, shape: tuple[int, int], rule: PixelRule) -> tuple[np.ndarray, int]:
    """Draw all outlines of a view into one (H, W) uint8 mask of class numbers; also return how many were grown to a pixel.

    Where outlines of different classes overlap, the class listed first wins; ignore loses to every class. Dropped outlines are
    not drawn. Raises ConversionError where the view was drawn on an image of another shape, for an unknown label and for an
    outline outside the image.
    """
    if (view.height, view.width) != shape:
        raise ConversionError(
            f"the outlines were drawn on an image of {view.height} x {view.width} px, the scan has {shape[0]} x {shape[1]};"
            " draw them on the scan itself."
        )
    unknown = labels.unknown(view)
    if unknown:
        number, label = unknown[0]
        raise ConversionError(f"outline {number} has the unknown label {label!r}; expected {labels.expected}.")
    mask = np.zeros(shape, np.uint8)
    drawn = [(labels.value(outline.label) or 0, number, outline) for number, outline in enumerate(view.outlines, start=1)]
    # What is drawn later lies on top: ignore, which has the highest number, first, and class 1 last.
    last_first = sorted((each for each in drawn if each[0]), key=lambda each: -each[0])
    return mask, sum(draw(mask, outline, number, rule, value) for value, number, outline in last_first)


def _load(path: Path) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML lets the last of two equal keys win; here the first would be lost without a word."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
            if twice is not None:
                raise yaml.constructor.ConstructorError(None, None, f"{twice!r} stands there twice", node.start_mark)
            return super().construct_mapping(node, deep)

    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ConversionError(f"{path}: has {path.stat().st_size >> 10} KiB, expected a list of labels under 64 KiB.")
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader)  # a SafeLoader
    except OSError as error:
        raise ConversionError(f"{path}: the labels file cannot be read ({error.strerror}).") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConversionError(f"{path}: is not valid YAML ({line}{error.problem}); see the example in the README.") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # odd characters, impossible dates, odd keys
        raise ConversionError(f"{path}: is not valid YAML ({type(error).__name__}); see the example in the README.") from error


def _class_name(name: Any, path: Path) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ConversionError(f'{path}: the class name {name!r} must be text; put it in "quotes".')
    if name.strip().lower() in (BACKGROUND, IGNORE):
        raise ConversionError(f"{path}: {name!r} is nnU-Net's own label, not a class; use the section drop or ignore.")
    return name.strip()


def _spellings(path: Path, name: str, listed: Any) -> tuple[str, ...]:
    """The labels under one heading as text; whole numbers are allowed, for they are the labels of mask images."""
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise ConversionError(f"{path}: {name!r} must be followed by a [list] of labels, found {_kind(listed)}.")
    for number, label in enumerate(listed, start=1):
        is_text = isinstance(label, str) and bool(label.strip())
        if not is_text and (isinstance(label, bool) or not isinstance(label, int)):
            raise ConversionError(f'{path}: label {number} of {name!r} must be text, found {_kind(label)}; put it in "quotes".')
    return tuple(str(label).strip() for label in listed)


def _kind(value: Any) -> str:
    return "nothing" if value is None else repr(value) if isinstance(value, bool | float) else type(value).__name__


def _folded(label: str) -> str:
    return "".join(unicodedata.normalize("NFKC", label).casefold().split())
