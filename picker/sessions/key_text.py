"""The text of a file of session keys: one key a line, the first signs."""

import binascii
from base64 import b64decode
from typing import Final

from infscale.errors import ConfigError

MIN_KEY_BYTES: Final = 32
MAX_KEYS: Final = 16
_EXPECTED: Final = f"expected base64 of at least {MIN_KEY_BYTES} random bytes (openssl rand -base64 {MIN_KEY_BYTES})"


def read_keys(text: str, source: str) -> tuple[bytes, ...]:
    """The keys in `text`, in their order, at least one; empty lines and those that begin with ``#`` are none.

    Raises `ConfigError` that names `source` and the line, and quotes nothing of it.
    """
    keys: list[bytes] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        key = _key(line)
        place = f"{source}:{number}"
        if key is None:
            raise ConfigError(place, "", _EXPECTED)
        if key in keys:
            raise ConfigError(place, "", "the same key stands above")
        keys.append(key)
    if not keys:
        raise ConfigError(source, "", f"there is no key; {_EXPECTED}")
    return tuple(keys)


def _key(line: str) -> bytes | None:
    try:
        key = b64decode(line.encode("ascii").translate(bytes.maketrans(b"-_", b"+/")), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return key if len(key) >= MIN_KEY_BYTES else None
