"""The model name the client asked for, put back where the model server names the one it was sent.

Only the value of the top-level ``model`` changes; text that looks like it, in generated content or nested objects,
does not.
"""

import re
from typing import Final

import orjson

from picker.parsing.model_span import with_model
from picker.response.usage import event_payload

_STRUCTURE: Final = re.compile(rb'["{}\[\]]')
_STRING_REST: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_MODEL_VALUE: Final = re.compile(rb'"model"\s*+:\s*+("[^"\\]*+(?:\\.[^"\\]*+)*+")', re.DOTALL)
# What may still grow into the key and its value: the key alone, the colon, an unfinished string.
_MODEL_BEGUN: Final = re.compile(rb'"model"\s*+(?::\s*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+\\?)?)?\Z', re.DOTALL)
_KEY: Final = b'"model"'
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
    if payload is None:
        return line
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return line
    if not isinstance(document, dict) or document.get("model") != target:
        return line
    head, _, tail = line.partition(payload)
    return b"".join((head, with_model(payload, incoming, named=True), tail))


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
