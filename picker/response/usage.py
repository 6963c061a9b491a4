"""Token usage as model servers report it: in the last events of a stream, or in the one document of an answer."""

import codecs
import re
from typing import Any, Final, cast

import orjson

from infscale.frozen_values import value

_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"
# A longer event is no report of usage.
_LONGEST_EVENT_BYTES: Final = 1 << 20
MOST_TOKENS: Final = 1 << 24
"""More than the context of any model; a larger number is a mistake, or worse."""
# Decoding of a larger one could take a tenth of a second, and a server says what it likes.
_DECODED_BYTES: Final = 1 << 18
_HOLDERS: Final = (b'"usage"', b'"meta_info"')
# A key and an object with objects in it: within a text its quotes would be escaped.
_HOLDER: Final = re.compile(rb'"[a-z_]++"\s*+:\s*+\{[^{}]*+(?:\{[^{}]*+\}[^{}]*+)*+\}')
_WRITTEN_COUNT: Final = re.compile(r"\s*([0-9]{1,10})(?:\.0*)?\s*", re.ASCII)
_UNFINISHED: Final = re.compile(rb'"finish_reason"\s*:\s*null')


@value
class Usage:
    """Tokens of one request; None where the server does not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None

    def updated(self, later: "Usage") -> "Usage":
        """This usage with what `later` knows put over it; streams report in instalments."""
        return Usage(
            _later(later.prompt_tokens, self.prompt_tokens),
            _later(later.completion_tokens, self.completion_tokens),
            _later(later.total_tokens, self.total_tokens),
            _later(later.cached_tokens, self.cached_tokens),
        )


def event_payload(line: bytes) -> bytes | None:
    """The data of a server-sent event's line; None: the line carries none, or marks the end."""
    if not line.startswith(_DATA):
        # The first line of a stream may begin with a byte order mark.
        if not line.startswith(codecs.BOM_UTF8 + _DATA):
            return None
        line = line[len(codecs.BOM_UTF8) :]
    payload = line[len(_DATA) :].strip()
    return None if payload in (b"", _DONE) else payload


def ends_event(line: bytes) -> bool:
    """Whether a line is empty: the event before it is complete."""
    return line in (b"\n", b"\r\n", b"\r")


class UsageReader:
    """Collects usage from the lines of an event stream, or from a whole document."""

    __slots__ = ("_pieces", "_pieces_bytes", "events", "usage")

    def __init__(self) -> None:
        self.usage = Usage()
        self.events = 0
        # Data of the event at hand that says nothing by itself.
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0

    @property
    def within_event(self) -> bool:
        """Whether more lines may belong to what was read of an event."""
        return bool(self._pieces)

    def line(self, line: bytes) -> None:
        """Read one line of an event stream; an event that is no JSON is passed over.

        Each line of data is an event of its own, as servers of models write them, unless several lines make one JSON.
        """
        payload = event_payload(line)
        if payload is None:
            if self._pieces and ends_event(line):
                self.ended()
            return
        self.events += 1
        # Where the end of a line is missing the last event on it is whole.
        if _says_usage(payload) and (self.document(payload) or self.document(payload.rpartition(_DATA)[2])):
            self._forget()
            return
        self._pieces.append(payload)
        self._pieces_bytes += len(payload)
        if self._pieces_bytes > _LONGEST_EVENT_BYTES:
            self._forget()

    def ended(self) -> None:
        """An event is complete, or the stream has ended: an event without an end is read as it is."""
        if len(self._pieces) > 1:
            event = b"\n".join(self._pieces)
            if _says_usage(event):
                self.document(event)
        self._forget()

    def _forget(self) -> None:
        self._pieces.clear()
        self._pieces_bytes = 0

    def document(self, document: bytes) -> bool:
        """Read the usage in a JSON document; whether it is one. One that is no JSON is passed over.

        Of a large one only the last object that is named as usage is decoded.
        """
        if len(document) > _DECODED_BYTES:
            places = [place for key in _HOLDERS if (place := document.rfind(key)) >= 0]
            found = [match[0] for place in places if (match := _HOLDER.match(document, place))]
            document = b"{%s}" % b",".join(found)
        try:
            decoded = orjson.loads(document.removeprefix(codecs.BOM_UTF8))
        except orjson.JSONDecodeError:
            return False
        # The Responses API wraps it in ``response``, Anthropic's first event in ``message``.
        for holder in (decoded, _member(decoded, "response"), _member(decoded, "message")):
            usage = _member(holder, "usage")
            if usage is not None:
                self.usage = self.usage.updated(_usage(usage))
        meta = _member(decoded, "meta_info")
        if meta is not None:
            self.usage = self.usage.updated(_usage(meta))
        return True


def may_say_usage(chunk: bytes) -> bool:
    """Whether any event in `chunk`, which holds whole lines, is worth a look; most are not."""
    named = chunk.count(b'"usage"')
    return (named > 0 and named != chunk.count(b'"usage":null')) or b'"meta_info"' in chunk


def _says_usage(payload: bytes) -> bool:
    """Whether an event is worth decoding.

    Servers write ``"usage":null`` into every event but the last. SGLang counts in every event of its own API; the one
    that says why it ended has the final numbers.
    """
    named = payload.count(b'"usage"')
    if named:
        return named != payload.count(b'"usage":null')
    return b'"meta_info"' in payload and not _UNFINISHED.search(payload)


def _usage(fields: dict[str, Any]) -> Usage:
    details = _member(fields, "prompt_tokens_details") or _member(fields, "input_tokens_details") or {}
    return Usage(
        prompt_tokens=_first_count(fields, "prompt_tokens", "input_tokens"),
        completion_tokens=_first_count(fields, "completion_tokens", "output_tokens"),
        total_tokens=_first_count(fields, "total_tokens"),
        cached_tokens=_later(
            _first_count(details, "cached_tokens"), _first_count(fields, "cache_read_input_tokens", "cached_tokens")
        ),
    )


def _member(holder: object, name: str) -> dict[str, Any] | None:
    if not isinstance(holder, dict):
        return None
    value = cast(dict[str, Any], holder).get(name)
    return cast(dict[str, Any], value) if isinstance(value, dict) else None


def _first_count(fields: dict[str, Any], *names: str) -> int | None:
    for name in names:
        count = _count(fields.get(name))
        if count is not None:
            return count
    return None


def _count(value: object) -> int | None:
    """A number of tokens, also as some servers write it: ``2000.0`` or ``"2000"``. None: no number there can be."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        found = _WRITTEN_COUNT.fullmatch(value)
        value = None if found is None else int(found[1])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and 0 <= value <= MOST_TOKENS else None


def _later(later: int | None, earlier: int | None) -> int | None:
    return earlier if later is None else later
