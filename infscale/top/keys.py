"""Bytes of a terminal as keys."""

from collections.abc import Mapping
from typing import Final

UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END = "up", "down", "page up", "page down", "home", "end"
ENTER, ESCAPE, BACKSPACE = "enter", "escape", "backspace"

_ESC: Final = b"\x1b"
_SEQUENCES: Final[Mapping[bytes, str]] = {
    **{b"\x1b[" + code: key for code, key in {b"A": UP, b"B": DOWN, b"H": HOME, b"F": END, b"C": ENTER}.items()},
    **{b"\x1bO" + code: key for code, key in {b"A": UP, b"B": DOWN, b"H": HOME, b"F": END, b"C": ENTER}.items()},
    **{b"\x1b[D": ESCAPE, b"\x1bOD": ESCAPE},
    **{b"\x1b[5~": PAGE_UP, b"\x1b[6~": PAGE_DOWN, b"\x1b[1~": HOME, b"\x1b[4~": END},
}
_SINGLE: Final[Mapping[int, str]] = {0x0A: ENTER, 0x0D: ENTER, 0x7F: BACKSPACE, 0x08: BACKSPACE}
_MAX_SEQUENCE: Final = 16


def keys_of(pending: bytes, *, waited: bool = False) -> tuple[list[str], bytes]:
    """The keys at the start of `pending`, and the bytes of a key that is not whole.

    An escape alone is a key once it was `waited` for more. Sequences that mean nothing here are passed over; a key that
    writes something is that text.
    """
    keys: list[str] = []
    while pending:
        key, length = _first(pending, waited=waited)
        if not length:
            break
        pending = pending[length:]
        if key:
            keys.append(key)
    return keys, pending


def _first(pending: bytes, *, waited: bool) -> tuple[str, int]:
    """The first key ("" where it means nothing) and its length; 0: it is not whole."""
    if pending[:1] == _ESC:
        return _escaped(pending, waited=waited)
    if pending[0] < 0x80:
        text = chr(pending[0])
        return _SINGLE.get(pending[0], text if text.isprintable() else ""), 1
    length = next((size for size in (2, 3, 4) if pending[0] >> (7 - size) == (1 << (size + 1)) - 2), 1)
    if len(pending) < length and not waited:
        return "", 0
    text = pending[:length].decode("utf-8", "ignore")
    return text if text.isprintable() else "", min(length, len(pending))


def _escaped(pending: bytes, *, waited: bool) -> tuple[str, int]:
    if len(pending) == 1:
        return (ESCAPE, 1) if waited else ("", 0)
    if pending[1:2] not in (b"[", b"O"):
        return ESCAPE, 1
    for length in range(3, min(len(pending), _MAX_SEQUENCE) + 1):
        if 0x40 <= pending[length - 1] <= 0x7E:
            return _SEQUENCES.get(pending[:length], ""), length
    whole = waited or len(pending) >= _MAX_SEQUENCE
    return "", len(pending) if whole else 0
