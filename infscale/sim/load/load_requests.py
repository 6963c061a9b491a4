"""Requests for real servers, with their bodies: what the demo sends.

They are decided beforehand from one seed, down to the bytes of every body, so that two phases get the same traffic at
the same times.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from infscale.sim.load.virtual_request import VirtualRequest

HeadersOf = Callable[[VirtualRequest], tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """One request to send, `at_seconds` after the phase starts.

    `prompt_tokens` and `output_tokens` are what it was made of; the endpoint's own count of the prompt is in its usage.
    `headers` are sent with it. A request of a `session` also sends what the newest answer of that session gave it.
    """

    at_seconds: float
    path: str
    body: bytes
    prompt_tokens: int
    output_tokens: int
    headers: tuple[tuple[str, str], ...] = ()
    session: int | None = None


def load_requests(requests: Iterable[VirtualRequest], headers_of: HeadersOf = lambda _: ()) -> tuple[LoadRequest, ...]:
    """The same requests for real servers, each with its headers; none of them may wait for an answer."""
    return tuple(
        LoadRequest(
            one.at_seconds,
            one.path,
            one.body(),
            one.prompt_tokens,
            one.output_tokens,
            headers_of(one),
            one.session,
        )
        for one in requests
    )


def encode_requests(requests: Sequence[LoadRequest]) -> bytes:
    """The requests as lines of JSON, for a load generator in another process."""
    return b"\n".join([orjson.dumps({**asdict(request), "body": request.body.decode()}) for request in requests])


def decode_requests(encoded: bytes) -> tuple[LoadRequest, ...]:
    """What `encode_requests` wrote."""
    rows: list[dict[str, Any]] = [orjson.loads(line) for line in encoded.splitlines()]
    return tuple(LoadRequest(**{**row, **_as_made(row)}) for row in rows)


def _as_made(row: dict[str, Any]) -> dict[str, Any]:
    headers: list[tuple[str, str]] = [(name, value) for name, value in row["headers"]]
    return {"body": row["body"].encode(), "headers": tuple(headers)}
