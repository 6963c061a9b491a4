"""An open-loop load generator: sends requests when they are due, whatever the answers do, and measures their streams.

Every time is measured from when a request was due, so that a late send counts as waiting and nothing is omitted when
answers are slow. Streams are scanned as bytes; only the last event, which carries the usage, is parsed.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import aiohttp
import orjson

from infscale.process.connecting import connect_problem
from infscale.sim.load.load_requests import LoadRequest

POD_HEADER = "x-inference-pod"
"""Response header in which an endpoint names itself."""

SESSION_HEADERS = ("x-infscale-session", "x-session-token")
"""Response headers that say where a session is; its client sends them with its next request."""
DROPPED_HEADER = "x-llm-d-request-dropped-reason"
"""Response header in which a picker says why it refused."""

_FIRST_TOKEN = re.compile(rb'"(?:content|text)": ?"(?!")')
_DONE = b"data: [DONE]"
_TAIL_BYTES = 4096
_CONNECT_SECONDS = 10.0
_NO_USAGE = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """Where the load goes and when it gives up: an answer may take `timeout_seconds` from when it was due."""

    base_url: str
    timeout_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request; times in seconds.

    `ended_at` counts from the start of the phase, `lag_seconds` is how late it was sent, `ttft_seconds` how long after
    it was due the first token came, `tpot_seconds` the mean gap between tokens (None with fewer than two). `failure` is
    None for an answer that came whole; `refused`: the picker said why there is none.
    """

    number: int
    lag_seconds: float
    ended_at: float
    status: int | None = None
    endpoint: str = ""
    ttft_seconds: float | None = None
    tpot_seconds: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    failure: str | None = None
    refused: bool = False


@dataclass(slots=True)
class _Stream:
    """What was seen of one answer: `first_at` and `last_at` on the loop's clock, and the last bytes."""

    first_at: float | None = None
    last_at: float = 0.0
    tail: bytes = b""

    def feed(self, data: bytes, now: float) -> None:
        """Take in bytes that arrived at `now`."""
        self.tail = data[-_TAIL_BYTES:] if len(data) >= _TAIL_BYTES else (self.tail + data)[-_TAIL_BYTES:]
        if self.first_at is None:
            # The tail covers an event cut in two; the first token is far from the end of 4 KiB.
            if _FIRST_TOKEN.search(self.tail) is None:
                return
            self.first_at = now
        self.last_at = now


class _Carried:
    """What answers gave the clients of sessions to send with their next requests."""

    def __init__(self) -> None:
        self._by_session: dict[int, dict[str, str]] = {}

    def headers(self, request: LoadRequest) -> dict[str, str]:
        """The headers of `request`, sent now."""
        given = {} if request.session is None else self._by_session.get(request.session, {})
        return {"Content-Type": "application/json", **dict(request.headers), **given}

    def answered(self, request: LoadRequest, headers: Mapping[str, str]) -> None:
        """The answer to `request` began."""
        given = {name: headers[name] for name in SESSION_HEADERS if name in headers}
        if request.session is not None and given:
            self._by_session[request.session] = given


@dataclass(frozen=True, slots=True)
class _Client:
    """What all requests are sent by; `started` is when the phase did, on the loop's clock."""

    session: aiohttp.ClientSession
    started: float
    timeout_seconds: float
    carried: _Carried


async def send_all(requests: Sequence[LoadRequest], settings: LoadSettings, record: Callable[[Outcome], None]) -> None:
    """Send every request when it is due and hand each outcome to `record`; returns when all have ended.

    Bounded by the last request's time plus the timeout. Failures are outcomes; nothing is raised for them.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    loop = asyncio.get_running_loop()
    async with (
        aiohttp.ClientSession(settings.base_url, connector=connector, timeout=timeout) as session,
        asyncio.TaskGroup() as tasks,
    ):
        client = _Client(session, loop.time(), settings.timeout_seconds, _Carried())
        for number, request in enumerate(requests):
            await asyncio.sleep(client.started + request.at_seconds - loop.time())
            tasks.create_task(_send(client, number, request, record))


async def _send(client: _Client, number: int, request: LoadRequest, record: Callable[[Outcome], None]) -> None:
    loop, started, carried = asyncio.get_running_loop(), client.started, client.carried
    due = started + request.at_seconds
    lag = loop.time() - due
    stream = _Stream()
    status, endpoint, failure, refused = None, "", None, None
    try:
        async with (
            asyncio.timeout_at(due + client.timeout_seconds),
            client.session.post(request.path, data=request.body, headers=carried.headers(request)) as response,
        ):
            status = response.status
            carried.answered(request, response.headers)
            refused = _refusal(status, response.headers)
            endpoint = response.headers.get(POD_HEADER, "")
            async for data in response.content.iter_any():
                stream.feed(data, loop.time())
        failure = refused or _failure(status, stream)
    except aiohttp.ClientConnectorError as error:
        failure = connect_problem(error.os_error)
    except aiohttp.ClientError:
        failure = "stream cut"
    except TimeoutError:
        failure = "timeout"
    prompt, cached, output = _usage(stream.tail) if failure is None else _NO_USAGE
    first = stream.first_at
    record(
        Outcome(
            number=number,
            lag_seconds=lag,
            ended_at=loop.time() - started,
            status=status,
            endpoint=endpoint,
            ttft_seconds=None if first is None else first - due,
            tpot_seconds=None if first is None or output < 2 else (stream.last_at - first) / (output - 1),
            prompt_tokens=prompt,
            cached_tokens=cached,
            output_tokens=output,
            failure=failure,
            refused=refused is not None,
        )
    )


def _refusal(status: int, headers: Mapping[str, str]) -> str | None:
    """Why the picker refused, and when to try again where it says so; None where it did not."""
    reason, later = headers.get(DROPPED_HEADER), headers.get("retry-after")
    if reason is None:
        return None
    return f"{status} {reason}" + ("" if later is None else ", with Retry-After")


def _failure(status: int, stream: _Stream) -> str | None:
    if status != 200:
        return f"status {status}"
    if _DONE not in stream.tail:
        return "stream cut"
    return None if stream.first_at is not None else "no token"


def _usage(tail: bytes) -> tuple[int, int, int]:
    """Tokens of the prompt, cached ones and those of the output, by the stream's last events; zeros without usage."""
    for event in reversed(tail.split(b"\n\n")):
        if b'"usage"' not in event or not event.startswith(b"data: "):
            continue
        try:
            document: object = orjson.loads(event[len(b"data: ") :])
        except orjson.JSONDecodeError:
            continue
        usage = _mapping(_mapping(document).get("usage"))
        if usage:
            details = _mapping(usage.get("prompt_tokens_details"))
            counts = (usage.get("prompt_tokens"), details.get("cached_tokens"), usage.get("completion_tokens"))
            prompt, cached, output = map(_count, counts)
            return prompt, cached, output
    return _NO_USAGE


def _mapping(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
