from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from dataset_conversion.errors import ConversionError
from dataset_conversion.pseudonym import digest, load_key, pseudonyms, store_key

KEY = bytes(range(32))


def _hmac_sha256(key: bytes, message: bytes) -> str:
    """RFC 2104 by hand."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in block) + message).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in block) + inner).hexdigest()


def test_a_pseudonym_is_a_keyed_hash_and_tells_nothing_without_the_key() -> None:
    for patient in ("8NM1", "Grün^Ä", "damaged \udcff"):
        assert digest(patient, KEY) == _hmac_sha256(KEY, patient.encode(errors="surrogateescape"))
        assert pseudonyms([digest(patient, KEY)]) == {digest(patient, KEY): "P" + digest(patient, KEY)[:6]}
    assert digest("8NM1", KEY[::-1])[:6] != digest("8NM1", KEY)[:6]


def test_patients_that_share_six_digits_get_longer_names_and_others_keep_theirs() -> None:
    patients = [digest(str(n), KEY) for n in range(12_000)]
    names = pseudonyms(patients)
    assert len(set(names.values())) == len(patients)
    assert {len(name) for name in names.values()} == {7, 8}
    assert all(re.fullmatch("P[0-9a-f]{6,8}", name) for name in names.values())
    assert all(patient.startswith(names[patient][1:]) for patient in patients)


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = load_key(path)
    assert not path.exists()
    assert key != load_key(path)
    store_key(path, key)
    assert path.stat().st_mode & 0o777 == 0o600
    store_key(path, KEY)
    assert load_key(path) == key


@pytest.mark.parametrize(
    ("content", "words"), [("no key", "is no key file"), ("", "0 bytes"), ("00" * 31, "31 bytes"), ("ä", "no key")]
)
def test_a_file_that_holds_no_key_is_refused_and_left_alone(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "key"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConversionError, match=words):
        load_key(path)
    assert path.read_text(encoding="utf-8") == content


def test_a_key_that_cannot_be_read_or_made_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="cannot be read"):
        load_key(tmp_path)
    with pytest.raises(ConversionError, match="cannot be made"):
        store_key(tmp_path / "absent" / "key", KEY)
