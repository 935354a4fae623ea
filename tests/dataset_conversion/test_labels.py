from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_conversion.annotations.outline import AnnotatedView, LesionOutline, LesionRegion
from dataset_conversion.errors import ConversionError
from dataset_conversion.labels import LESION_LABELS, LabelMap, label_mask

EXAMPLE = """
classes:
  metastasis: [metastasis, Metastase, 转移, "1"]
  benign: [degenerative, bone fracture, 2]
drop: [bladder, injection site]
ignore:
  - unclear
"""


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def example(tmp_path: Path) -> LabelMap:
    return LabelMap.from_file(_file(tmp_path, EXAMPLE))


def _square(label: str, left: int, top: int, side: int = 4) -> LesionOutline:
    return LesionOutline(
        label, np.array([[left, top], [left + side, top], [left + side, top + side], [left, top + side]], float)
    )


def _view(*outlines: LesionOutline | LesionRegion) -> AnnotatedView:
    return AnnotatedView(outlines, 12, 16)


def test_several_spellings_and_languages_are_one_class(example: LabelMap) -> None:
    for spelling in ("metastasis", "Metastase", "转移", "1", " METASTASE", "meta stasis", "ｍｅｔａｓｔａｓｉｓ"):
        assert example.value(spelling) == 1, spelling
    for spelling in ("benign", "Bone  Fracture", "bonefracture", "2"):
        assert example.value(spelling) == 2, spelling
    assert example.value("Injection-Site") is None
    assert example.value("INJECTION SITE") == 0
    assert example.value("unclear") == 3


def test_labels_match_in_any_unicode_form() -> None:
    labels = LabelMap({"métastase": ("Weiß",)})
    assert labels.value("me\u0301tastase") == labels.value("WEISS") == 1


def test_nnunets_labels_start_with_background_and_end_with_ignore(example: LabelMap) -> None:
    assert list(example.dataset_labels().items()) == [("background", 0), ("metastasis", 1), ("benign", 2), ("ignore", 3)]
    assert LabelMap().dataset_labels() == {"background": 0, "metastasis": 1}
    assert LabelMap().ignore_value is None


def test_without_a_file_every_known_spelling_is_the_one_class() -> None:
    assert {LabelMap().value(spelling) for spelling in LESION_LABELS} == {1}
    assert LabelMap().unknown(_view(_square("Lesion", 0, 0), _square("bladder", 0, 0), _square("255", 0, 0))) == [
        (2, "bladder"),
        (3, "255"),
    ]
    assert "metastasis or" in LabelMap().expected


def test_what_a_message_lists_is_bounded() -> None:
    labels = LabelMap({"metastasis": tuple(f"spelling {n}" for n in range(40))})
    assert labels.expected.endswith("or one of 29 more")


def test_the_class_listed_first_wins_overlaps_and_ignore_loses_to_all(example: LabelMap) -> None:
    outlines = (_square("metastasis", 0, 0), _square("benign", 2, 0), _square("unclear", 4, 0), _square("bladder", 0, 4))
    row = [1, 1, 1, 1, 2, 2, 3, 3] + [0] * 8
    for order in (outlines, outlines[::-1]):
        mask, grown = label_mask(_view(*order), example, (12, 16), "centre")
        assert mask.dtype == np.uint8
        assert mask[:4].tolist() == [row] * 4
        assert not mask[4:].any()
        assert grown == 0
    assert example.is_lesion(mask)[0].tolist() == [value in (1, 2) for value in row]


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", "u", "x"]), st.integers(0, 11), st.integers(0, 7)), max_size=6))
def test_each_pixel_has_the_first_class_of_the_shapes_that_cover_it(shapes: list[tuple[str, int, int]]) -> None:
    labels = LabelMap({"a": (), "b": (), "c": ()}, drop=("x",), ignore=("u",))
    mask, _ = label_mask(_view(*(_square(*shape) for shape in shapes)), labels, (12, 16), "centre")
    for row, column in np.ndindex(12, 16):
        covering = [label for label, left, top in shapes if left <= column < left + 4 and top <= row < top + 4]
        expected = next((value for value, label in enumerate("abcu", start=1) if label in covering), 0)
        assert mask[row, column] == expected


def test_regions_take_part_and_grown_outlines_are_counted_but_for_dropped_ones(example: LabelMap) -> None:
    region = LesionRegion("benign", np.ones((2, 2), bool), 8, 8)
    mask, grown = label_mask(
        _view(region, _dot("metastasis", 5.1), _dot("bladder", 3.1)),
        example,
        (12, 16),
        "centre",
    )
    assert (mask[8:10, 8:10] == 2).all()
    assert mask[5, 5] == 1
    assert mask[3, 3] == 0
    assert (int((mask > 0).sum()), grown) == (5, 1)


def _dot(label: str, place: float) -> LesionOutline:
    return LesionOutline(label, np.full((3, 2), place))


def test_an_unknown_label_is_named_with_its_number_in_the_view(example: LabelMap) -> None:
    view = _view(_square("bladder", 0, 0), _square("kidney", 0, 0))
    assert example.unknown(view) == [(2, "kidney")]
    with pytest.raises(ConversionError, match="outline 2 has the unknown label 'kidney'; expected metastasis or"):
        label_mask(view, example, (12, 16), "centre")


def test_an_outline_outside_the_image_keeps_its_number_in_the_view(example: LabelMap) -> None:
    with pytest.raises(ConversionError, match=r"outline 3 \('benign'\) lies outside"):
        label_mask(
            _view(_square("bladder", 0, 0), _square("benign", 0, 0), _square("benign", 90, 0)), example, (12, 16), "centre"
        )


def test_a_view_drawn_on_an_image_of_another_size_is_refused(example: LabelMap) -> None:
    with pytest.raises(ConversionError, match="an image of 12 x 16 px, the scan has 16 x 12"):
        label_mask(_view(), example, (16, 12), "centre")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'expected "classes:"'),
        ("- metastasis", 'expected "classes:"'),
        ("classes: {}", 'expected "classes:"'),
        ("classes: [metastasis]", 'expected "classes:"'),
        ("drop: [bladder]", 'expected "classes:"'),
        ("classes: {m: [a]}\nclass: {b: [c]}", "has the section 'class'; expected classes, drop, ignore"),
        ("classes: {m: a}", "'m' must be followed by a [list] of labels, found str"),
        ("classes: {m: [a]}\ndrop: bladder", "'drop' must be followed by a [list]"),
        ("classes: {m: [a, [b]]}", "label 2 of 'm' must be text, found list"),
        ("classes: {m: [a, yes]}", "label 2 of 'm' must be text, found True; put it in \"quotes\""),
        ("classes: {m: [1.0]}", "found 1.0"),
        ("classes: {m: ['']}", "label 1 of 'm' must be text"),
        ("classes: {m: [~]}", "found nothing"),
        ("classes: {m: [2020-01-01]}", "found date"),
        ("classes: {m: [2020-13-41]}", "is not valid YAML (ValueError)"),
        ("classes: {1: [a]}", "the class name 1 must be text"),
        ("classes: {background: [a]}", "'background' is nnU-Net's own label"),
        ("classes: {Ignore: [a]}", "'Ignore' is nnU-Net's own label"),
        ("classes: {m: [a], b: [A ]}", "the label 'A' stands under m and under b; keep one"),
        ("classes: {m: [a], b: [m]}", "the label 'm' stands under m and under b"),
        ("classes: {m: [a]}\ndrop: [a]", "the label 'a' stands under m and under drop"),
        ("classes: {m: [a]}\ndrop: [u]\nignore: [u]", "the label 'u' stands under drop and under ignore"),
        ("classes: {m: [a], m: [b]}", "'m' stands there twice"),
        ("classes: {m: [a]}\nclasses: {b: [a]}", "line 1: 'classes' stands there twice"),
        ("classes:\n  m: [a\n  b: c", "is not valid YAML (line 3"),
        ("classes: {? [a] : [b]}", "is not valid YAML"),
        ("classes: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("classes: {m: [\x01]}", "is not valid YAML"),
        ("[" * 5000, "is not valid YAML"),
        ("a: " + "x" * 70000, "has 68 KiB"),
        ("classes: {" + ", ".join(f"c{n}: [s{n}]" for n in range(255)) + "}", "has 255 classes, expected at most 254"),
    ],
)
def test_a_bad_file_is_refused_with_one_sentence_that_names_it(tmp_path: Path, text: str, words: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(ConversionError) as raised:
        LabelMap.from_file(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="cannot be read"):
        LabelMap.from_file(tmp_path / "absent.yaml")
    (tmp_path / "b.yaml").write_bytes(bytes(range(256)))
    with pytest.raises(ConversionError, match="is not valid YAML"):
        LabelMap.from_file(tmp_path / "b.yaml")
