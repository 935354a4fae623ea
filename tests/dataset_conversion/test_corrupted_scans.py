"""Damaged scans: each is named in one of our two exceptions or read, soon, and the next file is read as if nothing had been."""

from __future__ import annotations

import random
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.readers import child
from dataset_conversion.scans import ReadOptions, identify, read_scan

WriteDicom = Callable[..., Path]
MUTATIONS = 120
MOST_SECONDS = 5.0


def _nm1() -> bytes:
    path = get_testdata_file("JPEG-LL.dcm", download=False)
    assert isinstance(path, str)
    return Path(path).read_bytes()


def _plain(path: Path, write_dicom: WriteDicom) -> bytes:
    return write_dicom(path).read_bytes()


def _run_length_encoded(path: Path, write_dicom: WriteDicom) -> bytes:
    def edit(dataset: Dataset) -> None:
        dataset.compress(uid.RLELossless, generate_instance_uid=False)

    return write_dicom(path, edit).read_bytes()


def _jpeg_lossless(path: Path, write_dicom: WriteDicom) -> bytes:
    return _nm1()


def _mutated(whole: bytes, rng: random.Random) -> bytes:
    """Flip bits, cut the end, swap two blocks or set what may be a length; most of the time near the beginning."""
    damaged = bytearray(whole)
    reach = min(len(whole), rng.choice([400, 3000, len(whole)]))
    kind = rng.choice(["bits", "cut", "blocks", "length"])
    if kind == "bits":
        for _ in range(rng.choice([1, 4, 30])):
            damaged[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del damaged[rng.randrange(len(damaged)) :]
    elif kind == "blocks":
        size = rng.choice([4, 60])
        first, second = (slice(start, start + size) for start in (rng.randrange(reach - size), rng.randrange(reach - size)))
        damaged[first], damaged[second] = damaged[second], damaged[first]
    else:
        start = rng.randrange(reach)
        damaged[start : start + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", rng.randbytes(4)])
    return bytes(damaged)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [_plain, _run_length_encoded, _jpeg_lossless])
def test_damaged_scans_never_end_in_another_exception(
    tmp_path: Path, write_dicom: WriteDicom, make: Callable[[Path, WriteDicom], bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "damaged.dcm"
    whole = make(path, write_dicom)
    rng = random.Random(0)
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for _ in range(MUTATIONS):
        path.write_bytes(_mutated(whole, rng))
        start = time.perf_counter()
        try:
            identify(path)
            outcomes["read"] += bool(read_scan(path))
        except ConversionError as error:
            outcomes["refused"] += 1
            outcomes["unnamed"] += not str(error).startswith(f"{path}: ")
            outcomes["in several lines"] += "\n" in str(error)
        slowest = max(slowest, time.perf_counter() - start)
    assert min(outcomes["read"], outcomes["refused"]) > MUTATIONS // 10
    assert outcomes["unnamed"] == outcomes["in several lines"] == 0
    assert slowest < MOST_SECONDS
    assert capfd.readouterr() == ("", "")

    path.write_bytes(whole)
    assert read_scan(path)


@pytest.mark.filterwarnings("ignore")
def test_a_decoder_that_ends_its_process_costs_one_file(tmp_path: Path) -> None:
    """GDCM aborts on a sample precision of 255."""
    path = tmp_path / "scan.dcm"
    damaged = bytearray(_nm1())
    damaged[damaged.rindex(b"\xff\xd8\xff\xc3") + 6] = 255
    path.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(ConversionError, match=r"scan.dcm: its pixels cannot be decoded \(crashes the library\)"):
            read_scan(path)
    path.write_bytes(_nm1())
    assert read_scan(path)[0].counts.sum() == 3_596_452


@pytest.mark.filterwarnings("ignore")
def test_a_decoder_that_takes_too_long_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scan.dcm"
    path.write_bytes(_nm1())
    read_scan(path)
    with monkeypatch.context() as impatient:
        impatient.setattr(child, "MOST_SECONDS", 1e-4)
        with pytest.raises(ConversionError, match=r"scan.dcm: its pixels cannot be decoded \(takes longer than 0.0001 s\)"):
            read_scan(path)
    assert read_scan(path)[0].counts.sum() == 3_596_452


def test_pixels_that_a_decoder_makes_up_are_refused(tmp_path: Path) -> None:
    """libjpeg fills the missing half of an image, and only prints so."""
    dataset = pydicom.dcmread(get_testdata_file("JPEG-LL.dcm", download=False))
    (image,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = pydicom.encaps.encapsulate([image[: len(image) // 2] + b"\xff\xd9"])
    del dataset.CountsAccumulated
    dataset.save_as(tmp_path / "scan.dcm")
    with pytest.raises(ConversionError, match=r"scan.dcm: its pixels cannot be decoded \(Corrupt JPEG data: premature end"):
        read_scan(tmp_path / "scan.dcm")


def test_a_header_that_claims_a_terabyte_is_refused(tmp_path: Path, write_dicom: WriteDicom) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.Rows = dataset.Columns = 65535
        dataset.NumberOfFrames = 1000

    for make in (edit, lambda dataset: (dataset.compress(uid.RLELossless), edit(dataset))):
        path = write_dicom(tmp_path / "scan.dcm", make, views=("anterior",))
        with pytest.raises(ConversionError, match=r"scan.dcm: states 1000 frames of 65535 x 65535 pixels"):
            read_scan(path)


def test_deflated_data_without_end_are_refused(tmp_path: Path, write_dicom: WriteDicom) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian

    path = write_dicom(tmp_path / "scan.dcm", edit)
    whole = path.read_bytes()
    meta = whole[: 144 + struct.unpack("<I", whole[140:144])[0]]  # (0002,0000) holds the length of what follows it
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    header = zlib.decompress(whole[len(meta) :], -zlib.MAX_WBITS)
    path.write_bytes(meta + deflater.compress(header + bytes(100 << 20)) + deflater.flush())
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ConversionError, match=r"scan.dcm: cannot be read as DICOM \(it inflates beyond 64 MiB\)"):
        read_scan(path)


def test_a_run_length_encoding_far_larger_than_its_image_is_refused(tmp_path: Path, write_dicom: WriteDicom) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.compress(uid.RLELossless)
        frame = struct.pack("<16L", 2, 64, 500_064, *[0] * 13) + b"\x81\x00" * 500_000
        dataset.PixelData = pydicom.encaps.encapsulate([frame])

    path = write_dicom(tmp_path / "scan.dcm", edit, views=("anterior",))
    with pytest.raises(ConversionError, match=r"scan.dcm: holds 10000.. bytes for 1536 bytes of pixels"):
        read_scan(path)


def test_pixels_that_look_like_millions_of_elements_are_given_up_soon(tmp_path: Path, write_dicom: WriteDicom) -> None:
    path = write_dicom(tmp_path / "scan.dcm")
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\xe0\x7f\x10\x00")] + bytes(30 << 20))
    start = time.perf_counter()
    with pytest.raises(ConversionError, match=r"scan.dcm: cannot be read as DICOM \(ValueError\)"):
        read_scan(path)
    assert time.perf_counter() - start < MOST_SECONDS


@pytest.mark.parametrize(
    "content", [b"", b"no DICOM at all, just text. " * 20, bytes(range(256)) * 4, b"\x08\x00\x05\x00" * 99]
)
def test_a_file_that_is_no_dicom_is_named(tmp_path: Path, content: bytes) -> None:
    for name in ("notes.txt", "scan.dcm"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConversionError, match=f"{name}: ") as raised:
            read_scan(tmp_path / name)
        assert isinstance(raised.value, SkippedFile) == (name == "notes.txt" and content[:1] != b"\x08")


@pytest.mark.filterwarnings("ignore")
def test_damaged_arrays_never_end_in_another_exception(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    counts = np.random.default_rng(0).poisson(20, (48, 16)).astype(np.uint16)
    for name in ("a_ant.png", "a_ant.tif"):
        Image.fromarray(counts).save(tmp_path / name)
    for name in ("a_ant.nii", "a_ant.nii.gz", "a_ant.mha"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(counts), str(tmp_path / name))
    np.save(tmp_path / "a_ant.npy", counts)
    rng = random.Random(0)
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        outcomes: Counter[str] = Counter()
        for _ in range(40):
            path.write_bytes(_mutated(whole, rng))
            try:
                outcomes["read"] += bool(read_scan(path, ReadOptions(spacing_mm=(2.0, 2.0))))
            except ConversionError as error:
                outcomes["named" if str(error).startswith(f"{path}: ") else "unnamed"] += 1
        assert outcomes["named"] > 0, path.name
        assert outcomes["unnamed"] == 0, path.name
    assert capfd.readouterr() == ("", "")
