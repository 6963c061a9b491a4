"""Token usage as model servers report it: in the last events of a stream, or in the one document of an answer."""

import re
from typing import Any, Final, cast

import orjson

from infscale.value import value

_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"
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
        return None
    payload = line[len(_DATA) :].strip()
    return None if payload in (b"", _DONE) else payload


class UsageReader:
    """Collects usage from the lines of an event stream, or from a whole document."""

    __slots__ = ("events", "usage")

    def __init__(self) -> None:
        self.usage = Usage()
        self.events = 0

    def line(self, line: bytes) -> None:
        """Read one line of an event stream; one that is no JSON is passed over."""
        payload = event_payload(line)
        if payload is None:
            return
        self.events += 1
        if _says_usage(payload) and not self.document(payload):
            # Where the end of a line is missing the last event on it is whole.
            self.document(payload.rpartition(_DATA)[2])

    def document(self, document: bytes) -> bool:
        """Read the usage in a JSON document; one that is no JSON is passed over, and the answer is False."""
        try:
            decoded = orjson.loads(document)
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
    if b'"usage"' in payload:
        return b'"usage":null' not in payload
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
        value = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _later(later: int | None, earlier: int | None) -> int | None:
    return earlier if later is None else later
