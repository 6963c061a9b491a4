"""Where in a JSON body the model name stands, so that a rewrite replaces its bytes and nothing else.

The body is never scanned for structure. The JSON decoder that reads the document also settles which of several
candidates is the top-level model: each candidate's value is replaced by its own number, and the number the decoder
then finds under ``model`` is the one. So nested models, duplicate keys (the last wins) and escaped spellings need no
rules of their own.
"""

import codecs
import re
from typing import Final

import orjson

_VALUE: Final = rb'"\s*+:\s*+("[^"\\]*+(?:\\.[^"\\]*+)*+"|null)'
_PLAIN: Final = re.compile(rb'"model' + _VALUE, re.DOTALL)
_SPELLED: Final = re.compile(
    rb'"(?:m|\\u006[dD])(?:o|\\u006[fF])(?:d|\\u0064)(?:e|\\u0065)(?:l|\\u006[cC])' + _VALUE, re.DOTALL
)
_KEY: Final = b'"model"'
# Every letter of the key, where a body escapes it, starts so; a body without this spells the key plainly.
_ESCAPED_LETTER: Final = b"\\u006"


def _find(body: bytes) -> tuple[int, int]:
    """The byte range of the top-level model's JSON string, quotes included, or of the null in its place.

    `body` is a JSON object that a decoder has found to have text or null under the key ``model``.
    """
    spelled_plainly = _ESCAPED_LETTER not in body
    if spelled_plainly and body.count(_KEY) == 1:
        # The key stands somewhere, and this is the only place where it can.
        match = _PLAIN.match(body, body.find(_KEY))
        if match:
            return match.span(1)
    pattern = _PLAIN if spelled_plainly else _SPELLED
    return _numbered(body, [match.span(1) for match in pattern.finditer(body)])


def with_model(body: bytes, model: str, *, named: bool, span: tuple[int, int] | None = None) -> bytes:
    """`body`, a JSON object, with another model: in place of what it names (text or null), else put first.

    `span` is where that stands, where it is known.
    """
    name = orjson.dumps(model)
    if not named:
        start = body.index(b"{") + 1
        return b"".join((body[:start], b'"model":', name, b",", body[start:]))
    start, end = span or _find(body)
    return b"".join((body[:start], name, body[end:]))


def _numbered(body: bytes, spans: list[tuple[int, int]]) -> tuple[int, int]:
    """The span among `spans` that the JSON decoder takes for the top-level model."""
    pieces: list[bytes] = []
    end = 0
    for number, span in enumerate(spans):
        pieces += (body[end : span[0]], b"%d" % number)
        end = span[1]
    pieces.append(body[end:])
    winner: int = orjson.loads(b"".join(pieces).removeprefix(codecs.BOM_UTF8))["model"]
    return spans[winner]
