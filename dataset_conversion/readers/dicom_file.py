"""Bytes -> pydicom data set, within bounds of time and memory, without a word of the header on stderr."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag

from dataset_conversion.errors import ConversionError, SkippedFile

# How DICOM files are named, where they have a suffix at all.
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
# The only attributes taken from a file, so no other one can reach an output or a message (in tag order).
ATTRIBUTES = (
    "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesDescription",
    "PatientName", "PatientID", "PatientBirthDate", "CountsAccumulated", "StudyInstanceUID", "ImageID",
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "FrameIncrementPointer", "Rows", "Columns",
    "PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "BurnedInAnnotation",
    "RescaleIntercept", "RescaleSlope", "LossyImageCompression", "DetectorVector", "DetectorInformationSequence",
    "PixelData",
)  # fmt: skip
# A whole-body scan of two views is 1 MiB, 4 MiB with 1024x512 pixels of 32 bit. A larger file is a series or a volume.
LARGEST_FILE = 64 << 20
# Bytes that hold the attributes `read_header` wants, all of them in the first group.
HEADER_BYTES = 64 << 10
# A header takes two reads an element, a few thousand in all; damage that turns pixels into millions of elements stops here.
MOST_READS = 100_000
_PREAMBLE = 128
_Stop = Callable[[BaseTag, str | None, int], bool]


@dataclass(frozen=True)
class ScanHeader:
    """What tells DICOM files apart without reading them; empty text where the file does not say."""

    sop_instance: str
    modality: str


class _Bounded(io.BytesIO):
    """Bytes whose reader gives up instead of parsing damage for minutes."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._left = MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ValueError("more elements than a scan has")
        return super().read(size)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what pydicom has to say on odd header values: it quotes them, and they may identify a patient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_dicom(path: Path, attributes: tuple[str, ...] = ATTRIBUTES) -> Dataset:
    """Read these attributes of one DICOM file, with or without preamble and meta header, whole or deflated.

    The data set always has a `file_meta` with a transfer syntax. Raises SkippedFile for a file that is none of DICOM's or too
    large for a planar scan, ConversionError for one that is named like DICOM and is not, or is damaged; OSError as `open` does.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if not _is_dicom(file.read(_PREAMBLE + 8)):
            if path.suffix.lower() in DICOM_SUFFIXES:
                raise ConversionError(f"{path}: is named like a DICOM file but holds none; export it again.")
            raise SkippedFile(f"{path}: is not a DICOM file.")
        if size > LARGEST_FILE:
            raise SkippedFile(f"{path}: has {size >> 20} MiB, more than any planar scan (at most {LARGEST_FILE >> 20} MiB).")
        file.seek(0)
        content = file.read(LARGEST_FILE)
    try:
        with quiet():
            return _parse(content, attributes, LARGEST_FILE)
    except Exception as error:  # a damaged file can make the parser fail anywhere; its words may quote the header
        reason = str(error) if type(error) is _InflationError else type(error).__name__
        raise ConversionError(f"{path}: cannot be read as DICOM ({reason}); export it again.") from error


def identify(path: Path) -> ScanHeader | None:
    """Read what a DICOM file is from its first bytes, in about 1 ms; None for what is no DICOM. Never raises."""
    try:
        with path.open("rb") as file:
            content = file.read(HEADER_BYTES)
        if not _is_dicom(content):
            return None
        with quiet():
            dataset = _parse(content, ("SOPInstanceUID", "Modality"), None)
            return ScanHeader(str(dataset.get("SOPInstanceUID") or ""), str(dataset.get("Modality") or ""))
    except Exception:  # whatever is wrong with it, reading the whole file will say
        return None


def has_preamble(head: bytes) -> bool:
    """Tell whether a file that begins with these (at least 132) bytes is DICOM by its magic word."""
    return head[_PREAMBLE : _PREAMBLE + 4] == b"DICM"


def _is_dicom(head: bytes) -> bool:
    # Bare data sets are common in old archives: they begin with group 0002 or 0008, in either byte order.
    return has_preamble(head) or (
        len(head) > 8 and head[:2] in (b"\x02\0", b"\x08\0", b"\0\x08") and head[3] in (0, 0x10, 0x05)
    )


class _InflationError(ValueError):
    """Deflated data that does not stay within bounds; the words are ours and safe to show."""


def _parse(content: bytes, attributes: tuple[str, ...], largest: int | None) -> Dataset:
    """Parse up to the last of the attributes. largest: bound of the inflated size; None: the beginning is enough."""
    tags: list[BaseTag | int] = [tag for keyword in attributes if (tag := tag_for_keyword(keyword)) is not None]
    last = max(tags)

    def is_beyond(tag: BaseTag, vr: str | None, length: int) -> bool:
        return bool(tag > last)

    dataset: Dataset
    file = _Bounded(content)
    if has_preamble(content):
        file.seek(_PREAMBLE + 4)
        meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=_is_after_meta)
        if meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian:
            inflated = _Bounded(_inflate(content[file.tell() :], largest))
            dataset = read_dataset(inflated, False, True, stop_when=is_beyond, specific_tags=tags)
            dataset.file_meta = FileMetaDataset(meta)
            return dataset
        file.seek(0)
    dataset = read_partial(file, stop_when=is_beyond, force=True, specific_tags=tags)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _is_after_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    return bool(tag.group != 2)


def _inflate(content: bytes, largest: int | None) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(content, HEADER_BYTES if largest is None else largest)
    if largest is not None and not inflater.eof:
        is_bomb = len(inflated) == largest
        raise _InflationError(f"it inflates beyond {largest >> 20} MiB" if is_bomb else "its deflated data end early")
    return inflated
