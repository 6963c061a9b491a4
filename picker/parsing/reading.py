"""A request body read in steps, so that a large one keeps nothing else waiting."""

from collections.abc import Iterator

from picker.parsing.encodings import decoding
from picker.parsing.framed import json_of, parse_body, parse_outline
from picker.parsing.outline import Outline, outlined
from picker.parsing.table import Route
from picker.request import ParsedBody


class Reading:
    """Reads the body `content` of `route`; the attributes are those of the body once `steps` has come to its end.

    `large_bytes`: a body that is shorter, also without its content encoding, is read in one step.
    """

    def __init__(self, route: Route, content: bytes, encoding: str | None, limit_bytes: int, large_bytes: int) -> None:
        self._route = route
        self._content = content
        self._encoding = encoding
        self._limit_bytes = limit_bytes
        self._large_bytes = large_bytes
        self.parsed = ParsedBody("opaque", "", b"", 0)
        """What it says."""
        self.plain: bytes | None = None
        """What it is without its content encodings; None: it has none, or is not read."""
        self.model_span: tuple[int, int] | None = None
        """Where the model's name stands in the plain body, where that was found on the way."""

    def steps(self) -> Iterator[None]:
        """Read; each step takes some milliseconds. Raises RequestError."""
        route, text = self._route, self._content
        if route.api != "opaque":
            encoded = decoding(text, self._encoding, self._limit_bytes)
            if encoded is not None:
                for size_bytes in encoded.steps():
                    if size_bytes >= self._large_bytes:
                        yield
                text = self.plain = encoded.content
        if len(text) >= self._large_bytes:
            yield
        document = json_of(route, text)
        if document is None or not outlined(document):
            self.parsed = parse_body(route, text)
            return
        outline = Outline(document)
        yield from outline.steps()
        self.parsed = parse_outline(route, outline)
        self.model_span = outline.model_span
