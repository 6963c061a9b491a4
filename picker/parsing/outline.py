"""A large JSON body made small enough to be decoded at a stretch, a step at a time.

A decoder takes 50 ms for a text of 30 MB, 300 ms for as many token ids, and four seconds and a gigabyte for as many
empty lists; nothing else is done meanwhile. Scheduling needs the structure of a body and the beginnings of its texts.
So an outline is the body without the rest of what is long: of texts a hash stands for what is left out, of token ids
the first ones stay. What is left out is not checked: the engine does that. What the outline still holds has a limit.
"""

import re
from collections.abc import Iterator
from typing import Final

import orjson
from xxhash import xxh3_128_hexdigest

from picker.errors import RequestError, invalid_json
from picker.request import Reason

MOST_MARKS: Final = 400_000
"""How many commas, opening brackets and texts a body may have, long lists of numbers apart: 30 ms to decode."""

KEPT_BYTES: Final = 1 << 20
"""How much is kept of all that is long; prefixes are looked at as far as half of this."""

KEPT_NUMBERS: Final = 1 << 17
"""How many numbers are kept of long lists."""

_LONG_TEXT_BYTES: Final = 64
_LONG_LIST_BYTES: Final = 1_024
_MOST_BYTES: Final = 16 << 20
_WINDOW_BYTES: Final = 1 << 18
_TEXTS_A_STEP: Final = 5_000

_QUOTE: Final = b'"'
_BACKSLASH: Final = 0x5C
_LONGEST_ESCAPE_BYTES: Final = 6
_LONGEST_CHARACTER_BYTES: Final = 4
_NUMBERS: Final = re.compile(rb"[0-9,\s.+\-eE]{1024,}+")
_VALUE: Final = re.compile(rb"\s*+:\s*+(null|(?=\"))")
_MODEL: Final = b"model"
# Every letter of the key, where a body escapes it, starts so.
_ESCAPED_LETTER: Final = b"\\u006"
_LONGEST_KEY_BYTES: Final = len(_MODEL) * _LONGEST_ESCAPE_BYTES


def outlined(body: bytes) -> bool:
    """Whether a JSON body has to be made smaller, or might be refused, before it is decoded."""
    if len(body) >= KEPT_BYTES:
        return True
    marks = body.count(b",") + body.count(b"[") + body.count(b"{") + body.count(_QUOTE) // 2
    return marks > MOST_MARKS


class Outline:
    """The outline of `body`, once `steps` has come to its end. For one use."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._parts: list[bytes] = []
        # As far as the body has been copied into parts, or left out.
        self._copied = 0
        self._room_bytes, self._room_numbers = KEPT_BYTES, KEPT_NUMBERS
        self._marks = 0
        self._depth = 0
        self._model_at = -1
        self.document = b""
        """JSON with the structure of the body."""
        self.text_bytes = 0
        """How much of texts is left out."""
        self.numbers = 0
        """How many numbers are left out."""
        self.model_span: tuple[int, int] | None = None
        """Where in the body the top-level model's text stands, quotes included, or the null in its place."""

    def steps(self) -> Iterator[None]:
        """Work through the body; each step takes some milliseconds. Raises RequestError."""
        body = self._body
        place, texts = 0, 0
        while True:
            quote = body.find(_QUOTE, place)
            stop = len(body) if quote < 0 else quote
            while place < stop:
                end = min(stop, place + _WINDOW_BYTES)
                self._structure(place, end)
                if end < stop:
                    yield
                place = end
            if quote < 0:
                break
            end = quote
            while True:
                end = body.find(_QUOTE, end + 1)
                if end < 0:
                    raise invalid_json("a text does not end")
                texts += 1
                if texts % _TEXTS_A_STEP == 0:
                    yield
                if not _backslashes(body, quote + 1, end) & 1:
                    break
            self._text(quote, end)
            place = end + 1
        self._parts.append(body[self._copied :])
        self.document = b"".join(self._parts)
        self._parts = []
        if len(self.document) > _MOST_BYTES:
            raise _too_large(f"{_MOST_BYTES} bytes beside long texts and lists of numbers")

    def _mark(self, count: int) -> None:
        self._marks += count
        if self._marks > MOST_MARKS:
            raise _too_large(f"{MOST_MARKS} lists, objects, texts and other values")

    def _structure(self, start: int, end: int) -> None:
        """Go through what is no text."""
        body = self._body
        opened = body.count(b"[", start, end) + body.count(b"{", start, end)
        self._depth += opened - body.count(b"]", start, end) - body.count(b"}", start, end)
        commas = body.count(b",", start, end)
        if end - start >= _LONG_LIST_BYTES:
            for found in _NUMBERS.finditer(body, start, end):
                commas -= self._long_numbers(found.start(), found.end())
        self._mark(opened + commas)

    def _long_numbers(self, start: int, end: int) -> int:
        """Leave numbers out where there is no room for them; how many commas are between all of them."""
        body, total = self._body, self._body.count(b",", start, end)
        kept_bytes = min(end - start, self._room_bytes)
        if total > self._room_numbers:
            # Numbers of a list are of about one length.
            kept_bytes = min(kept_bytes, (end - start) * self._room_numbers // total)
        first, last = body.find(b",", start + kept_bytes, end), body.rfind(b",", start, end)
        left_out = body.count(b",", first, last) if 0 <= first < last else 0
        if left_out:
            self._leave_out(first, last)
        self._room_bytes -= kept_bytes
        self._room_numbers = max(0, self._room_numbers - total + left_out)
        self.numbers += left_out
        return total

    def _text(self, start: int, end: int) -> None:
        """Go through a text; `start` and `end` are its quotes."""
        body, size = self._body, end - start - 1
        self._mark(1)
        if start == self._model_at:
            self.model_span = (start, end + 1)
        elif self._depth == 1 and size <= _LONGEST_KEY_BYTES and _is_model(body[start : end + 1]):
            self._model_key(end + 1)
        if size < _LONG_TEXT_BYTES:
            return
        kept = min(size, self._room_bytes)
        self._room_bytes -= kept
        if kept < size:
            cut = _cut(body, start + 1, start + 1 + kept)
            self._leave_out(cut, end, xxh3_128_hexdigest(memoryview(body)[cut:end]).encode())
            self.text_bytes += end - cut

    def _model_key(self, place: int) -> None:
        """The key of the top-level model may end at `place`: the last one is that which counts."""
        found = _VALUE.match(self._body, place)
        if found is not None:
            self._model_at = found.end()
            self.model_span = found.span(1) if found[1] else None

    def _leave_out(self, start: int, end: int, instead: bytes = b"") -> None:
        self._parts += (self._body[self._copied : start], instead)
        self._copied = end


def _too_large(what: str) -> RequestError:
    return RequestError(f"the request body has more than {what}", "PayloadTooLarge", Reason.BODY_TOO_LARGE)


def _is_model(text: bytes) -> bool:
    """Whether a text, with its quotes, says model."""
    if _ESCAPED_LETTER not in text:
        return text[1:-1] == _MODEL
    try:
        return bool(orjson.loads(text) == _MODEL.decode())
    except orjson.JSONDecodeError:
        return False


def _backslashes(body: bytes, start: int, end: int) -> int:
    """How many backslashes end at `end`, none before `start`."""
    if end == start or body[end - 1] != _BACKSLASH:
        return 0
    size = 64
    while True:
        part = body[max(start, end - size) : end]
        count = len(part) - len(part.rstrip(b"\\"))
        if count < len(part) or end - size <= start:
            return count
        size *= 8


def _cut(body: bytes, start: int, cut: int) -> int:
    """The last place up to `cut` at which a text that begins at `start` can end: within no character and no escape."""
    lowest = max(start, cut - _LONGEST_CHARACTER_BYTES)
    while cut > lowest and body[cut] & 0xC0 == 0x80:
        cut -= 1
    back = body.rfind(b"\\", max(start, cut - 2 * _LONGEST_ESCAPE_BYTES), cut)
    if back < 0 or not _backslashes(body, start, back + 1) & 1:
        return cut
    if body[back + 1 : back + 3].lower() == b"ud" and body[back + 3 : back + 4].lower() in b"cdef":
        # The second half of a character that takes two escapes.
        return max(start, back - _LONGEST_ESCAPE_BYTES)
    return back
