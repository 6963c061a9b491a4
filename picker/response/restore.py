"""The model name the client asked for, put back where the model server names the one it was sent.

Only the value of the top-level ``model`` changes; text that looks like it, in generated content or nested objects,
does not.
"""

import re
from typing import Final

import orjson

from picker.parsing.model_span import with_model
from picker.response.usage import ends_event, event_payload

_STRUCTURE: Final = re.compile(rb'["{}\[\]]')
_STRING_REST: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_MODEL_VALUE: Final = re.compile(rb'"model"\s*+:\s*+("[^"\\]*+(?:\\.[^"\\]*+)*+")', re.DOTALL)
# What may still grow into the key and its value: the key alone, the colon, an unfinished string.
_MODEL_BEGUN: Final = re.compile(rb'"model"\s*+(?::\s*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+\\?)?)?\Z', re.DOTALL)
_KEY: Final = b'"model"'
# A longer event passes on as it comes.
_LONGEST_EVENT_BYTES: Final = 1 << 20
# A longer string is no model name; it passes on as it comes.
_LONGEST_NAME_BYTES: Final = 4096


def names_to_restore(target: str, incoming: str) -> tuple[str, str] | None:
    """The name sent and the name asked for, where both are known and differ; None: nothing to restore."""
    return (target, incoming) if target and incoming and target != incoming else None


def restore_line(line: bytes, target: str, incoming: str) -> bytes:
    """A line of an event stream, with `target` as its top-level model replaced by `incoming`."""
    if b"model" not in line:
        return line
    payload = event_payload(line)
    restored = None if payload is None else _restored(payload, target, incoming)
    if payload is None or restored is None:
        return line
    head, _, tail = line.partition(payload)
    return b"".join((head, restored, tail))


def _restored(document: bytes, target: str, incoming: str) -> bytes | None:
    """A JSON document whose top-level model is `target` with `incoming` in its place; None: it is none."""
    try:
        decoded = orjson.loads(document)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(decoded, dict) or decoded.get("model") != target:
        return None
    return with_model(document, incoming, named=True)


class EventRestorer:
    """Restores the top-level model of the events of a stream, given its lines.

    A line of data that is a whole JSON object passes on at once, as the lines of other fields do. What begins an object
    that goes on in the next lines of data is kept until the event has ended.
    """

    __slots__ = ("_incoming", "_kept", "_kept_bytes", "_target")

    def __init__(self, target: str, incoming: str) -> None:
        self._target = target
        self._incoming = incoming
        self._kept: list[bytes] = []
        self._kept_bytes = 0

    def line(self, line: bytes) -> bytes:
        """What passes on now that `line` has come."""
        payload = event_payload(line)
        if self._kept:
            if ends_event(line):
                return self.rest() + line
        elif payload is None or (payload.startswith(b"{") and payload.endswith(b"}")):
            return restore_line(line, self._target, self._incoming)
        self._kept.append(line)
        self._kept_bytes += len(line)
        return self.rest() if self._kept_bytes > _LONGEST_EVENT_BYTES else b""

    def rest(self) -> bytes:
        """What is kept back, restored where it is one object: the event has ended, or is too long."""
        lines, self._kept, self._kept_bytes = self._kept, [], 0
        data = [(place, payload) for place, line in enumerate(lines) if (payload := event_payload(line)) is not None]
        restored = _restored(b"\n".join([payload for _, payload in data]), self._target, self._incoming)
        # A name has no line break, so that lines stay as many as they were.
        for (place, payload), new in zip(data, [] if restored is None else restored.split(b"\n"), strict=False):
            head, _, tail = lines[place].partition(payload)
            lines[place] = b"".join((head, new, tail))
        return b"".join(lines)


class DocumentRestorer:
    """Restores the first top-level model of one JSON document that passes through in chunks.

    Only bytes that may still become the model's key and value are kept back; everything else passes on at once.
    """

    __slots__ = ("_depth", "_done", "_held", "_in_string", "_incoming", "_target")

    def __init__(self, target: str, incoming: str) -> None:
        self._target = target
        self._incoming = orjson.dumps(incoming)
        self._held = b""
        self._depth = 0
        self._in_string = False
        self._done = False

    def feed(self, chunk: bytes) -> bytes:
        """What can be passed on now that `chunk` has come."""
        if self._done:
            return chunk
        text = self._held + chunk
        end, value = self._scan(text)
        self._held = text[end:]
        if value is None:
            return text[:end]
        self._done = True
        start, stop = value
        return b"".join((text[:start], self._incoming, text[stop:])) if self._is_target(text[start:stop]) else text

    def rest(self) -> bytes:
        """What is kept back, given up: the document ended."""
        held, self._held = self._held, b""
        return held

    def _scan(self, text: bytes) -> tuple[int, tuple[int, int] | None]:
        """How much of `text` may pass on, and where the model's value is when it is there."""
        position = 0
        while True:
            if self._in_string:
                rest = _STRING_REST.match(text, position)
                if rest is None:
                    return len(text) - _open_escape(text, position), None
                self._in_string = False
                position = rest.end()
            token = _STRUCTURE.search(text, position)
            if token is None:
                return len(text), None
            position = token.end()
            if token[0] != b'"':
                self._depth += 1 if token[0] in b"{[" else -1
                continue
            if self._depth == 1:
                model = _MODEL_VALUE.match(text, token.start())
                if model is not None:
                    return len(text), model.span(1)
                if _may_become_model(text, token.start()):
                    return token.start(), None
            self._in_string = True

    def _is_target(self, value: bytes) -> bool:
        try:
            return bool(orjson.loads(value) == self._target)
        except orjson.JSONDecodeError:
            return False


def _may_become_model(text: bytes, start: int) -> bool:
    """Whether what follows `start` is the beginning of the model's key and value."""
    if len(text) - start > _LONGEST_NAME_BYTES:
        return False
    return _KEY.startswith(text[start:]) or _MODEL_BEGUN.match(text, start) is not None


def _open_escape(text: bytes, start: int) -> int:
    """1 where `text`, a part of a string from `start` on, ends in a backslash that escapes what comes next."""
    tail = text[start:]
    return (len(tail) - len(tail.rstrip(b"\\"))) % 2
