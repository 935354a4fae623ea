"""Keyed pseudonyms: the same patient has the same name in every conversion with the same key, and none without it."""

from __future__ import annotations

import hmac
import os
import secrets
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from dataset_conversion.errors import ConversionError

KEY_BYTES = 32  # as long as the SHA-256 digest; a longer key adds nothing (RFC 2104)
# 6 hexadecimal digits keep case names short; those patients that share them get one digit more, and again.
SHORTEST, LONGEST = 6, 8


def load_key(path: Path) -> bytes:
    """Read the key file, or make a random key where there is none yet (`store_key` writes it).

    Raises ConversionError where the file cannot be read or holds no key of at least 32 bytes in hexadecimal.
    """
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return secrets.token_bytes(KEY_BYTES)
    except OSError as error:
        raise ConversionError(f"{path}: the key file cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise ConversionError(f"{path}: is no key file (expected hexadecimal digits); a missing one is made.") from error
    if len(key) < KEY_BYTES:
        raise ConversionError(f"{path}: its key has {len(key)} bytes, expected {KEY_BYTES}; a missing file is made.")
    return key


def store_key(path: Path, key: bytes) -> None:
    """Write the key for its owner alone to read (mode 0600); a file that is there already stays as it is."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise ConversionError(f"{path}: the key file cannot be made ({error.strerror}).") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.hex() + "\n")


def digest(identifier: str, key: bytes) -> str:
    """HMAC-SHA256(key, identifier) in 64 hexadecimal digits: stands for the identifier wherever it may be written."""
    return hmac.digest(key, identifier.encode(errors="surrogateescape"), "sha256").hex()


def pseudonyms(digests: Iterable[str]) -> dict[str, str]:
    """Map patients' digests to "P" and their first 6 to 8 digits, all different.

    Raises ConversionError in the unlikely case that two patients still share 8 digits.
    """
    patients = sorted(set(digests))
    names: dict[str, str] = {}
    for length in range(SHORTEST, LONGEST + 1):
        waiting = {patient: patient[:length] for patient in patients if patient not in names}
        shared = Counter(waiting.values())
        names.update({patient: f"P{short}" for patient, short in waiting.items() if shared[short] == 1})
    if len(names) < len(patients):
        raise ConversionError(
            f"{len(patients) - len(names)} patients get the same pseudonym with this key; use another key file."
        )
    return names
