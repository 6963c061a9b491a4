"""One conversation with a server that speaks gRPC's health protocol (grpc.health.v1), over one connection.

Each round asks for the server itself, which shows that the connection lives, and for every name that is not watched.
What is watched is told at once when it changes, and holds for as long as rounds succeed.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from infscale.metrics.sample import HealthSample
from infscale.periodic import FetchError, Unreachable
from infscale.process.grpc_problems import rpc_problem
from infscale.sources.grpc_health import HealthTls

MOST_NEWS: Final = 32
"""Changes of one name between two rounds; a server that tells more is not listened to any more, and asked instead."""
_SERVICE: Final = "/grpc.health.v1.Health/"
_ANSWER_BYTES: Final = 4_096
_CHECKS_AT_ONCE: Final = 8
_WATCHED_EVERY: Final = 6
"""Rounds of which one also asks for what is watched: a watch that tells nothing is not taken at its word for ever."""
_STATUS = health_pb2.HealthCheckResponse
# What ends a conversation; every other code is about one name.
_OF_PEER: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _ANSWER_BYTES),
    ("grpc.max_metadata_size", 8_192),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.enable_retries", 0),
    # The conversation begins anew by itself, at a pace of its own.
    ("grpc.initial_reconnect_backoff_ms", 60_000),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a server is asked for: itself by `service`, and `names`; `tls` None: in plain text."""

    authority: str
    service: str
    names: tuple[str, ...]
    good_seconds: float
    tls: HealthTls | None = None


class HealthConversation:
    """Owner of one connection, and of what a server said of its names; see the module.

    `said` is called with what the server says now, whenever that may be something else.
    """

    def __init__(self, settings: Asked, said: Callable[[HealthSample], None]) -> None:
        self._settings = settings
        self._said = said
        self._tasks = asyncio.TaskGroup()
        self._calls: _Calls | None = None
        self._at_once = asyncio.Semaphore(_CHECKS_AT_ONCE)
        self._rounds = 0
        self._statuses: dict[str, int] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, int] = {}
        # Names that are asked for, and not watched again.
        self._asked: set[str] = set()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in [*self._watching.values()]:
            each.cancel()
        # The block's own error comes out as it is, not in an ExceptionGroup.
        await self._tasks.__aexit__(None, None, None)
        if self._calls is not None:
            await self._calls.channel.close(None)

    async def round(self) -> None:
        """Ask for what has to be asked for, and say what is known then.

        Raises FetchError where the server does not speak the protocol or the files for TLS cannot be used, Unreachable
        where it does not answer.
        """
        settings = self._settings
        if self._calls is None:
            self._calls = _Calls.on(await _channel(settings))
        calls = self._calls
        self._news.clear()
        await self._ask(calls, settings.service)
        whole = self._rounds % _WATCHED_EVERY == 0
        self._rounds += 1
        await _all(self._ask(calls, each) for each in settings.names if whole or each not in self._watching)
        self._said(self.sample())
        for each in (settings.service, *settings.names):
            if each not in self._watching and each not in self._asked:
                self._watching[each] = self._tasks.create_task(self._listen(calls, each))

    def sample(self) -> HealthSample:
        """What the server said last of everything."""
        settings, statuses = self._settings, self._statuses
        serving = {_STATUS.SERVING: True, _STATUS.NOT_SERVING: False}.get(statuses.get(settings.service, -1))
        names = frozenset(each for each in settings.names if statuses.get(each) == _STATUS.SERVING)
        return HealthSample(serving, names, settings.good_seconds)

    async def _ask(self, calls: "_Calls", name: str) -> None:
        async with self._at_once:
            try:
                self._statuses[name] = await calls.check(health_pb2.HealthCheckRequest(service=name))
            except grpc.aio.AioRpcError as error:
                self._statuses[name] = _status_of(error)

    async def _listen(self, calls: "_Calls", name: str) -> None:
        """Take in what changes, until the server ends it or tells too much."""
        call = calls.watch(health_pb2.HealthCheckRequest(service=name))
        try:
            async for status in call:
                self._news[name] = self._news.get(name, 0) + 1
                if self._news[name] > MOST_NEWS:
                    self._asked.add(name)
                    return
                if self._statuses.get(name) != status:
                    self._statuses[name] = status
                    self._said(self.sample())
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                self._asked.add(name)
        finally:
            call.cancel()
            self._watching.pop(name, None)


class _Calls(NamedTuple):
    """A connection, and the two methods of the protocol; both give the number of a status."""

    channel: grpc.aio.Channel
    check: "grpc.aio.UnaryUnaryMultiCallable[health_pb2.HealthCheckRequest, int]"
    watch: "grpc.aio.UnaryStreamMultiCallable[health_pb2.HealthCheckRequest, int]"

    @classmethod
    def on(cls, channel: grpc.aio.Channel) -> "_Calls":
        """The methods on `channel`."""
        written = health_pb2.HealthCheckRequest.SerializeToString
        return cls(
            channel,
            channel.unary_unary(f"{_SERVICE}Check", request_serializer=written, response_deserializer=_status),
            channel.unary_stream(f"{_SERVICE}Watch", request_serializer=written, response_deserializer=_status),
        )


async def _channel(settings: Asked) -> grpc.aio.Channel:
    tls = settings.tls
    if tls is None:
        return grpc.aio.insecure_channel(settings.authority, options=_OPTIONS)
    try:
        ca, key, certificate = await asyncio.to_thread(_contents, (tls.ca, tls.key, tls.certificate))
    except OSError as error:
        raise FetchError(f"certificates for gRPC health cannot be used: {error.strerror}") from None
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    name = [] if tls.server_name is None else [("grpc.ssl_target_name_override", tls.server_name)]
    return grpc.aio.secure_channel(settings.authority, credentials, options=[*_OPTIONS, *name])


def _contents(paths: Iterable[Path | None]) -> list[bytes | None]:
    return [None if each is None else each.read_bytes() for each in paths]


async def _all(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Await all; raises the first error as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in calls:
                group.create_task(each)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _status(answer: bytes) -> int:
    """The status in an answer; of one that cannot be read it is unknown."""
    try:
        return int(_STATUS.FromString(answer).status)
    except DecodeError:
        return int(_STATUS.UNKNOWN)


def _status_of(error: grpc.aio.AioRpcError) -> int:
    """What a refused question says of the name. Raises FetchError, Unreachable where it is about the server."""
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        raise FetchError("the server does not speak gRPC's health protocol")
    if error.code() in _OF_PEER:
        raise Unreachable(rpc_problem(error))
    return int(_STATUS.SERVICE_UNKNOWN if error.code() is grpc.StatusCode.NOT_FOUND else _STATUS.UNKNOWN)
