"""Several kinds of traffic at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from typing import TYPE_CHECKING

from infscale.errors import ConfigError
from infscale.sim.load.traffic import Traffic
from infscale.sim.load.virtual_request import RequestStream, VirtualRequest

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class MixedLoad:
    """All of `parts`, side by side; they share no text."""

    parts: tuple[Traffic, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ConfigError("", "workload", "a mixture has at least one part")

    def description(self) -> Mapping[str, object]:
        """See `Traffic`."""
        return {"kind": "mixed", "parts": [part.description() for part in self.parts]}

    def stream(self, rng: "Random") -> RequestStream:
        """See `Traffic`."""
        return _MixedStream([part.stream(rng) for part in self.parts])


class _MixedStream:
    """A request of part p of n is number ``n · own + p``, and so is its session."""

    def __init__(self, streams: Sequence[RequestStream]) -> None:
        self._streams = streams

    def arriving(self) -> Iterator[VirtualRequest]:
        """See `RequestStream`."""
        marked = [self._marked(part, stream.arriving()) for part, stream in enumerate(self._streams)]
        return merge(*marked, key=lambda request: request.at_seconds)

    def next(self, ended: VirtualRequest, at_seconds: float) -> VirtualRequest | None:
        """See `RequestStream`."""
        parts = len(self._streams)
        part = ended.number % parts
        session = None if ended.session is None else ended.session // parts
        own = replace(ended, number=ended.number // parts, session=session)
        following = self._streams[part].next(own, at_seconds)
        return None if following is None else self._mark(part, following)

    def _marked(self, part: int, requests: Iterator[VirtualRequest]) -> Iterator[VirtualRequest]:
        return (self._mark(part, request) for request in requests)

    def _mark(self, part: int, request: VirtualRequest) -> VirtualRequest:
        parts = len(self._streams)
        session = None if request.session is None else request.session * parts + part
        return replace(request, number=request.number * parts + part, session=session)
