from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from PIL import Image
from pycocotools import mask as cocomask

from dataset_conversion.annotations import formats, labelme
from dataset_conversion.annotations.outline import AnnotatedView, LesionOutline, ViewAnnotation
from dataset_conversion.annotations.tracing import trace
from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.labels import LabelMap, label_mask

LABELS = LabelMap({"metastasis": ("Metastase", "转移", "1"), "benign": ("2",)})
NAMES = ("metastasis", "benign")
LABELME_6 = Path(__file__).parent / "labelme_files" / "labelme_6.3.1.json"


def _mask(annotation: ViewAnnotation) -> np.ndarray:
    shape = (annotation.content.height, annotation.content.width)
    return label_mask(annotation.content, LABELS, shape, "centre")[0]


def _coco(path: Path, shape: tuple[int, int], segmentations: list[tuple[int, Any]]) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "0001.png", "height": shape[0], "width": shape[1]}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(NAMES, start=1)],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": category, "segmentation": segmentation, "iscrowd": 0}
            for number, (category, segmentation) in enumerate(segmentations, start=1)
        ],
    }
    path.write_text(json.dumps(content))
    return path


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    encoded = cocomask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}


def test_the_same_outlines_in_every_format_give_the_same_mask(
    tmp_path: Path, write_dicom: Callable[..., Path], write_seg: Callable[..., Path]
) -> None:
    """LabelMe 6 itself drew and wrote the outlines, pycocotools and highdicom encode what they enclose."""
    (drawn,) = formats.read(LABELME_6)
    expected = _mask(drawn)
    shape = (drawn.content.height, drawn.content.width)
    assert set(np.unique(expected)) == {0, 1, 2}

    polygons: list[tuple[int, Any]] = [
        (LABELS.value(one.label) or 0, [one.points.ravel().tolist()])
        if isinstance(one, LesionOutline)
        else (1, _run_lengths(np.pad(one.mask, ((one.top, shape[0] - one.top - 4), (one.left, shape[1] - one.left - 5)))))
        for one in drawn.content.outlines
    ]
    runs: list[tuple[int, Any]] = [(value, _run_lengths(expected == value)) for value in (1, 2)]
    files = [
        _coco(tmp_path / "polygons.json", shape, polygons),
        _coco(tmp_path / "runs.json", shape, runs),
        tmp_path / "mask.png",
        tmp_path / "mask.nii.gz",
        tmp_path / "traced.json",
    ]
    Image.fromarray(expected).save(files[2])
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(expected), str(files[3]))
    traced = tuple(one for value, name in enumerate(NAMES, start=1) for one in trace(expected == value, name))
    labelme.write(files[4], AnnotatedView(traced, *shape), "scan.png")

    def resize(scan: Any) -> None:
        (scan.Rows, scan.Columns), scan.PixelData = shape, bytes(4 * shape[0] * shape[1])

    scan = write_dicom(tmp_path / "scan.dcm", resize)
    for kind in ("BINARY", "FRACTIONAL", "LABELMAP"):
        files.append(write_seg(tmp_path / f"{kind}.dcm", expected, scan, 2, NAMES, kind))
    for path in files:
        (annotation,) = formats.read(path)
        assert np.array_equal(_mask(annotation), expected), path.name


def test_a_format_is_known_by_its_content_not_only_by_its_name(
    tmp_path: Path, write_dicom: Callable[..., Path], write_seg: Callable[..., Path]
) -> None:
    unnamed = tmp_path / "outlines"
    unnamed.write_bytes(b"\xef\xbb\xbf \n" + LABELME_6.read_bytes())
    assert len(formats.read(unnamed)[0].content.outlines) == 7
    mask = np.eye(48, 16, dtype=np.uint8)
    seg = write_seg(tmp_path / "seg.dcm", mask, write_dicom(tmp_path / "scan.dcm"), 1, ["1"])
    seg.rename(tmp_path / "IM0001")
    assert np.array_equal(_mask(formats.read(tmp_path / "IM0001")[0]), mask)


@pytest.mark.parametrize("content", ['{"labels": {}}', "[]", "3", '{"images": []}', '{"shapes": 1}'])
def test_json_of_another_kind_is_skipped_with_the_keys_that_are_expected(tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(SkippedFile, match=r'dataset\.json: is JSON but of no annotation format: expected "shapes"'):
        formats.read(tmp_path / "dataset.json")


def test_another_kind_of_file_is_named_with_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "notes.docx").write_bytes(b"PK")
    with pytest.raises(ConversionError, match=r"notes\.docx: .* LabelMe JSON, COCO JSON, DICOM SEG or a mask image"):
        formats.read(tmp_path / "notes.docx")
    for name in ("absent.json", "absent.png", "absent.dcm", "absent"):
        with pytest.raises(ConversionError, match=f"{name}: cannot be read"):
            formats.read(tmp_path / name)
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ConversionError, match=r"folder\.json: cannot be read"):
        formats.read(tmp_path / "folder.json")


def test_a_failure_that_no_reader_foresaw_is_a_sentence_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(content: Any, path: Path) -> list[ViewAnnotation]:
        raise ZeroDivisionError(content)

    monkeypatch.setattr(formats, "JSON_FORMATS", [formats.JsonFormat("broken", lambda content: True, fail)])
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ConversionError, match=r"a\.json: is damaged \(ZeroDivisionError\)"):
        formats.read(tmp_path / "a.json")


JUNK = [None, True, -1, 0, 2.5, 10**9, 10**30, 1e300, float("nan"), "", "x", "é", "\ud800", [], [[]], {}, [None] * 3, {"a": 1}]


def _damage_value(content: Any, rng: random.Random) -> None:
    """Replace or delete one value somewhere in a tree of JSON."""
    while True:
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(content[key], dict | list) and content[key] and rng.random() < 0.8:
            content = content[key]
        elif rng.random() < 0.2:
            del content[key]
            return
        else:
            content[key] = rng.choice(JUNK)
            return


def _damage_bytes(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice([1, 3, 30])):
        place = rng.randrange(len(damaged))
        damaged[place : place + rng.choice([0, 1, 1, 1, 40])] = rng.randbytes(rng.choice([0, 1, 1, 1, 4]))
        if not damaged:
            damaged = bytearray(1)
    return bytes(damaged[: rng.randrange(1, len(damaged) + 1)] if rng.random() < 0.2 else damaged)


@pytest.fixture
def samples(tmp_path: Path, write_dicom: Callable[..., Path], write_seg: Callable[..., Path]) -> list[Path]:
    mask = np.zeros((48, 16), np.uint8)
    mask[3:9, 4:8], mask[20, 5:9] = 1, 2
    runs = [(1, _run_lengths(mask == 1)), (2, {"size": [48, 16], "counts": [3, 4, 761]}), (1, [[1, 1, 5, 1.5, 5, 5]])]
    folder = tmp_path / "samples"
    folder.mkdir()
    (folder / "labelme.json").write_bytes(LABELME_6.read_bytes())
    _coco(folder / "coco.json", (48, 16), runs)
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(mask).save(folder / "mask.tif", compression="tiff_lzw")
    np.save(folder / "mask.npy", mask)
    for name in ("mask.nii", "mask.nii.gz", "mask.mha"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(mask), str(folder / name))
    scan = write_dicom(tmp_path / "scan.dcm")
    for kind in ("BINARY", "LABELMAP"):
        write_seg(folder / f"{kind}.dcm", mask, scan, 1, NAMES, kind)
    return sorted(folder.iterdir())


def test_damage_ends_in_a_sentence_that_names_the_file_never_in_a_crash_or_a_hang(tmp_path: Path, samples: list[Path]) -> None:
    rng = random.Random(0)
    refused = 0
    for number in range(600):
        sample = samples[number % len(samples)]
        path = tmp_path / f"damaged_{sample.name}"
        if sample.suffix == ".json" and rng.random() < 0.7:
            content = json.loads(sample.read_text(encoding="utf-8"))
            _damage_value(content, rng)
            path.write_text(json.dumps(content))
        else:
            path.write_bytes(_damage_bytes(sample.read_bytes(), rng))
        message = f"{path}: read"
        began = time.monotonic()
        try:
            for annotation in formats.read(path):
                assert annotation.content.height > 0
        except ConversionError as error:
            refused += 1
            message = str(error)
        assert time.monotonic() - began < 5
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        assert len(message) < 500 + len(str(path))  # no part of the file is quoted at length
        assert "Invented" not in message
    assert refused > 200
