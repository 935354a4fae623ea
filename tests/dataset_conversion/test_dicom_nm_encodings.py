"""The same counts from every encoding: NM1, a real scan, re-encoded in all that can be made here, and its lossy copies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from dataset_conversion.dicom_nm import read_views
from dataset_conversion.errors import ConversionError
from dataset_conversion.readers.options import ReadOptions

WriteDicom = Callable[..., Path]
NM1_COUNTS = 3_596_452
LOSSY = ReadOptions(allow_lossy=True)
# What pydicom can write (with pyjpegls and pylibjpeg-openjpeg); GDCM writes the two JPEG lossless ones.
WRITTEN_BY_PYDICOM = [
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
]
WRITTEN_BY_GDCM = [uid.JPEGLossless, uid.JPEGLosslessSV1]


def _sample(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path)


def _nm1() -> tuple[Dataset, np.ndarray]:
    """The scan decompressed, as a frame and its mirror image, and those pixels."""
    dataset = pydicom.dcmread(_sample("JPEG-LL.dcm"))
    dataset.decompress(generate_instance_uid=False)
    pixels = np.stack([dataset.pixel_array, dataset.pixel_array[:, ::-1]])
    dataset.PixelData, dataset.NumberOfFrames = pixels.tobytes(), 2
    return dataset, pixels


def _save(dataset: Dataset, syntax: uid.UID, path: Path) -> Path:
    if syntax.is_encapsulated:
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax == uid.ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(path, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    return path


@pytest.mark.filterwarnings("ignore:.*states no view")
@pytest.mark.parametrize("syntax", WRITTEN_BY_PYDICOM, ids=lambda syntax: syntax.keyword)
def test_nm1_reads_the_same_from_every_lossless_encoding(tmp_path: Path, syntax: uid.UID) -> None:
    dataset, pixels = _nm1()
    views = read_views(_save(dataset, syntax, tmp_path / "scan.dcm"))
    assert pydicom.dcmread(tmp_path / "scan.dcm").file_meta.TransferSyntaxUID == syntax
    assert np.array_equal([view.counts for view in views], pixels)
    assert [int(view.counts.sum()) for view in views] == [NM1_COUNTS] * 2
    assert {(view.counts.dtype, view.spacing_mm, view.patient) for view in views} == {
        (np.dtype("uint16"), (2.26, 2.26), "8NM1")
    }


@pytest.mark.filterwarnings("ignore:.*states no view")
@pytest.mark.parametrize("syntax", WRITTEN_BY_GDCM, ids=lambda syntax: syntax.keyword)
def test_nm1_reads_the_same_from_jpeg_lossless_written_by_gdcm(tmp_path: Path, syntax: uid.UID) -> None:
    import gdcm  # type: ignore[import-not-found, unused-ignore]

    dataset, pixels = _nm1()
    dataset.PixelData, dataset.NumberOfFrames = pixels[0].tobytes(), 1
    reader = gdcm.ImageReader()
    reader.SetFileName(str(_save(dataset, uid.ExplicitVRLittleEndian, tmp_path / "plain.dcm")))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(tmp_path / "scan.dcm"))
    assert writer.Write()
    assert pydicom.dcmread(tmp_path / "scan.dcm").file_meta.TransferSyntaxUID == syntax
    (view,) = read_views(tmp_path / "scan.dcm")
    assert np.array_equal(view.counts, pixels[0])


def test_the_original_of_nm1_is_read_to_the_count() -> None:
    with pytest.warns(UserWarning, match="frame 1 states no view, taken as anterior"):
        (view,) = read_views(_sample("JPEG-LL.dcm"))
    assert int(view.counts.sum()) == NM1_COUNTS == pydicom.dcmread(_sample("JPEG-LL.dcm")).CountsAccumulated
    assert (view.counts.shape, view.counts.dtype, view.counts.max()) == ((1024, 256), np.uint16, 278)
    assert (view.view, view.spacing_mm, view.patient, view.frame) == ("anterior", (2.26, 2.26), "8NM1", 1)


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "JPEG2000_UNC.dcm", "JPEG-lossy.dcm", "JPGExtended.dcm"])
def test_lossy_copies_of_nm1_are_refused(name: str) -> None:
    with pytest.raises(ConversionError, match=f"{name}: is compressed with loss .*--allow-lossy"):
        read_views(_sample(name))


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "JPEG2000_UNC.dcm"])
def test_a_lossy_copy_that_is_allowed_says_what_was_lost(name: str) -> None:
    lossy = pydicom.dcmread(_sample(name)).pixel_array
    with pytest.warns(UserWarning) as caught:  # noqa: PT030  which ones is checked below
        (view,) = read_views(_sample(name), LOSSY)
    said = " ".join(str(warning.message) for warning in caught)
    assert np.array_equal(view.counts, lossy.clip(0))
    assert "its counts are altered" in said
    assert f"{np.count_nonzero(lossy < 0)} pixels were negative after lossy compression (down to -30)" in said
    assert f"sum to {lossy.clip(0).sum()} counts, Counts Accumulated is {NM1_COUNTS}" in said


@pytest.mark.parametrize("name", ["JPEG-lossy.dcm", "JPGExtended.dcm"])
def test_a_lossy_copy_that_no_decoder_here_knows_is_refused_even_if_allowed(name: str) -> None:
    with pytest.raises(ConversionError, match=f"{name}: its pixels cannot be decoded"):
        read_views(_sample(name), LOSSY)


def test_a_lossy_copy_that_hides_it_is_caught_by_its_counts(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(_sample("JPEG2000_UNC.dcm"))
    del dataset.LossyImageCompression
    dataset.PixelData = dataset.pixel_array.clip(0).tobytes()
    dataset.save_as(tmp_path / "scan.dcm")
    for options in (ReadOptions(), LOSSY):
        with pytest.raises(ConversionError, match="Counts Accumulated is 3596452"):
            read_views(tmp_path / "scan.dcm", options)


@pytest.mark.parametrize(
    ("sample", "syntax", "hidden", "packages"),
    [
        ("JPEG-LL.dcm", None, "gdcm", '"msa-trainer[codecs]"'),
        ("JPEG-LL.dcm", uid.HTJ2KLossless, "openjpeg", "pylibjpeg pylibjpeg-openjpeg"),
    ],
)
def test_a_missing_decoder_is_named_with_what_to_install(
    tmp_path: Path, sample: str, syntax: uid.UID | None, hidden: str, packages: str
) -> None:
    """In a process of its own, where the decoders of JPEG cannot be imported."""
    dataset = pydicom.dcmread(_sample(sample))
    dataset.file_meta.TransferSyntaxUID = syntax or dataset.file_meta.TransferSyntaxUID
    dataset.save_as(tmp_path / "scan.dcm")
    code = (
        "import sys\n"
        f"for name in ({hidden!r}, 'pylibjpeg', 'libjpeg'): sys.modules[name] = None\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "from pathlib import Path; from dataset_conversion.dicom_nm import read_views\n"
        "read_views(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "scan.dcm"], capture_output=True, text=True, check=False)
    assert f"pip install {packages}" in done.stderr.splitlines()[-1]


def _stored(values: Any, **header: Any) -> Callable[[Dataset], None]:
    """Store values as the pixels of a one-frame scan, under header attributes."""

    def edit(dataset: Dataset) -> None:
        dataset.PixelData = np.asarray(values).tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.CountsAccumulated = 0
        for keyword, value in header.items():
            setattr(dataset, keyword, value)

    return edit


@pytest.mark.parametrize(
    ("header", "stored_as"),
    [
        ({"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1}, lambda v: v.astype("<i2")),
        ({"BitsStored": 12, "HighBit": 11}, lambda v: v.astype("<u2") | 0xA000),  # an overlay in the unused bits
        ({"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1}, lambda v: v.astype("<i2")),
        ({"BitsStored": 12, "HighBit": 15}, lambda v: v.astype("<u2") << 4),
        ({"BitsStored": 10, "HighBit": 9}, lambda v: v.astype("<u2")),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, lambda v: v.astype("u1")),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, lambda v: v.astype("<u4")),
    ],
    ids=["16 signed", "12 with overlay", "12 signed", "12 at the top", "10", "8", "32"],
)
def test_counts_are_read_from_the_bits_that_are_stored(
    tmp_path: Path, write_dicom: WriteDicom, header: dict[str, int], stored_as: Callable[[np.ndarray], np.ndarray]
) -> None:
    values = np.arange(48 * 16).reshape(48, 16) % 250
    edit = _stored(stored_as(values), **header)
    (view,) = read_views(write_dicom(tmp_path / "scan.dcm", edit, views=("anterior",)))
    assert np.array_equal(view.counts, values)


def test_the_sign_of_a_value_of_12_bits_is_extended(tmp_path: Path, write_dicom: WriteDicom) -> None:
    values = np.arange(48 * 16, dtype="<u2")
    values[7] = 0x0FFF  # -1 in 12 bits, whose upper bits the writer left empty
    edit = _stored(values, BitsStored=12, HighBit=11, PixelRepresentation=1)
    with pytest.raises(ConversionError, match=r"negative counts \(down to -1\)"):
        read_views(write_dicom(tmp_path / "scan.dcm", edit, views=("anterior",)))


def test_eight_bits_that_are_used_up_are_told(tmp_path: Path, write_dicom: WriteDicom) -> None:
    values = np.arange(48 * 16) % 256
    edit = _stored(values.astype("u1"), BitsAllocated=8, BitsStored=8, HighBit=7)
    with pytest.warns(UserWarning, match="its maximum is 255, all that 8 bits can hold"):
        read_views(write_dicom(tmp_path / "scan.dcm", edit, views=("anterior",)))
