"""The external scaler on grpcio's asyncio server: KEDA's five methods, and health.

Calls are answered at once, because KEDA has them wait for one another: its push of an activation waits for a poll in
progress. Streams hold no thread. At the end they return, which KEDA takes for a reason to open them again soon; one
that breaks is opened up to a minute later.
"""

import asyncio
import contextlib
import logging
import math
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self
from urllib.parse import unquote

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from infscale.documents.strict_document import quoted
from infscale.endpoint import ObjectKey, authority
from infscale.keda.errors import InvalidTrigger, NotKnown, NotThere, ScalerError, TooMany
from infscale.keda.external_scaler import ExternalScaler
from infscale.keda.proto import external_scaler_pb2 as pb
from infscale.keda.scaler_counts import METHODS, ScalerCounts
from infscale.keda.trigger_metadata import Asked, Trigger
from infscale.metrics.store.metrics_store import MetricStore
from infscale.process.garbage import return_free_memory
from infscale.process.grpc_certificate import GrpcCertificate
from infscale.process.grpc_listening import bind
from infscale.process.log import where
from infscale.process.tasks import running

SERVICE: Final = "externalscaler.ExternalScaler"

# A stream holds the message it was opened with.
_MANY_STREAMS: Final = 500
_GIVE_BACK_SECONDS: Final = 1.0
_MOST_MESSAGE_BYTES: Final = 16 * 1024
_MOST_HEADER_BYTES: Final = 16 * 1024
_UNARY_AT_ONCE: Final = 1_000
_SPEC_SECONDS: Final = 0.5
_FOLLOW_SECONDS: Final = 1.0
_DRAIN_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.01
_MOST_MESSAGE_CHARACTERS: Final = 1_000

_LOG = logging.getLogger(__name__)

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class ScalerTls:
    """PEM files, which are followed; with `client_ca` only clients with a certificate of that authority are served."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class ScalerListen:
    """Where the scaler listens (port 0: any free one), and how many streams it takes, in all and of one address.

    Loads, of which a stream is told and which cost most, are looked at every `look_seconds`; requests for an empty pool
    wait for nothing.
    """

    host: str = "127.0.0.1"
    port: int = 9005
    tls: ScalerTls | None = None
    max_streams: int = 4_000
    max_peer_streams: int = 2_000
    look_seconds: float = 2.0


class ScalerServer:
    """Serves `scaler` while its ``async with`` block runs; `store` tells when a pool is asked for.

    Guards the open streams. Entering raises `StartError` where the port is taken or the certificate does not work.
    """

    def __init__(
        self, listen: ScalerListen, scaler: ExternalScaler, store: MetricStore, clock: Callable[[], float]
    ) -> None:
        self._listen = listen
        self._scaler = scaler
        self._store = store
        self._clock = clock
        self.counts = ScalerCounts()
        """What it counts."""
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined] # its stubs lack it
        self._peers: Counter[str] = Counter()
        self._streams: dict[_Stream, None] = {}
        self._most_streams = 0
        # Streams that said last that nothing is active, by what they are about.
        self._waiting: dict[ObjectKey, dict[_Stream, None]] = {}
        self._closing = False
        self._server: grpc.aio.Server | None = None
        self._stack = contextlib.AsyncExitStack()
        self._port: int | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._port is None:
            raise RuntimeError("the scaler listens inside its async with block only")
        return self._port

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(running(self._observe()))
            stack.push_async_callback(self.drain)
            stack.callback(self._store.on_request_without_endpoint(self._called))
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    def streams(self) -> Mapping[Trigger, int]:
        """How many streams are open over which each trigger is told to be active."""
        return Counter([each.tells for each in self._streams if each.tells is not None])

    async def drain(self) -> None:
        """Say NOT_SERVING, have streams end in order, and take nothing more; harmless when repeated."""
        server, self._server = self._server, None
        if server is None:
            return
        self._closing = True
        await self._health.enter_graceful_shutdown()
        for each in self._streams:
            each.news.set()
        async with asyncio.TaskGroup() as tasks:
            # From here on clients are told to go elsewhere. It would wait for their connections, too.
            stopping = tasks.create_task(server.stop(_DRAIN_SECONDS))
            await asyncio.sleep(0)
            while self._streams and not stopping.done():  # noqa: ASYNC110 # at the end only
                await asyncio.sleep(_POLL_SECONDS)
            stopping.cancel()
        await server.stop(None)

    # Serving

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        listen = self._listen
        options = [
            # Two servers would share a port silently: the second start should say that it is taken.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", _MOST_MESSAGE_BYTES),
            ("grpc.max_metadata_size", _MOST_HEADER_BYTES),
            ("grpc.max_concurrent_streams", listen.max_peer_streams + _UNARY_AT_ONCE),
            ("grpc.server_handshake_timeout_ms", 10_000),
            # KEDA keeps nothing alive: what is behind a connection that went away holds streams else.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
        most = listen.max_streams + _UNARY_AT_ONCE
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=most)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._handlers()),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        place = authority(listen.host, listen.port)
        self._port = bind("the external scaler", server, place, "keda.listen", await self._credentials(stack))
        for service in ("", SERVICE):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        await server.start()
        self._server = server

    async def _credentials(self, stack: contextlib.AsyncExitStack) -> grpc.ServerCredentials | None:
        tls = self._listen.tls
        if tls is None:
            return None
        certificate = GrpcCertificate("the external scaler", tls.certificate, tls.key, tls.client_ca)
        credentials = await certificate.load()
        await stack.enter_async_context(running(certificate.followed.follow(_FOLLOW_SECONDS)))
        return credentials

    def _handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        # Messages are read where errors are told: grpcio would log the trace of one that cannot be read.
        def unary(method: str, answer: Callable[[Any], Any], asked: Any, of: Any) -> Any:
            async def call(request: bytes, context: "Context") -> Any:
                return await self._answered(method, lambda: answer(_read(asked, request)), context)

            return grpc.unary_unary_rpc_method_handler(call, None, of.SerializeToString)

        def stream(told: _Told, of: Any) -> Any:
            async def call(request: bytes, context: "Context") -> None:
                await self._streamed(told, request, context)

            return grpc.unary_stream_rpc_method_handler(call, None, of.SerializeToString)

        asks, asks_metrics = pb.ScaledObjectRef, pb.GetMetricsRequest
        active, specs = pb.IsActiveResponse, pb.GetMetricSpecResponse
        is_active, spec, metrics, stream_active, stream_spec = METHODS
        return {
            is_active: unary(is_active, lambda request: self._is_active(self._trigger(request)), asks, active),
            spec: unary(spec, lambda request: self._spec(self._trigger(request)), asks, specs),
            metrics: unary(metrics, self._metrics, asks_metrics, pb.GetMetricsResponse),
            stream_active: stream(_Told(stream_active, self._latest_active, self._listen.look_seconds), active),
            stream_spec: stream(_Told(stream_spec, lambda trigger, _: self._spec(trigger), _SPEC_SECONDS), specs),
        }

    # Answers

    def _trigger(self, request: pb.ScaledObjectRef) -> Trigger:
        if not (request.namespace and request.name):
            raise InvalidTrigger(_name(request), "the call names no ScaledObject with its namespace")
        return self._scaler.trigger(Asked(ObjectKey(request.namespace, request.name), dict(request.scaler_metadata)))

    def _is_active(self, trigger: Trigger) -> pb.IsActiveResponse:
        return pb.IsActiveResponse(result=self._scaler.active(trigger, self._clock()))

    def _spec(self, trigger: Trigger) -> pb.GetMetricSpecResponse:
        target = self._scaler.target(trigger)
        written = pb.MetricSpec(metric_name=trigger.name, target_size=whole(target), target_size_float=target)
        return pb.GetMetricSpecResponse(metric_specs=[written])

    def _metrics(self, request: pb.GetMetricsRequest) -> pb.GetMetricsResponse:
        trigger, name = self._trigger(request.scaled_object_ref), request.metric_name
        if name != trigger.name:
            problem = f"the metric of this trigger is {trigger.name}, and {quoted(name)} was asked for"
            raise NotThere(_name(request.scaled_object_ref), problem)
        value = self._scaler.value(trigger, self._clock())
        written = pb.MetricValue(metric_name=name, metric_value=whole(value), metric_value_float=value)
        return pb.GetMetricsResponse(metric_values=[written])

    def _latest_active(self, trigger: Trigger, stream: "_Stream") -> pb.IsActiveResponse:
        """The state; while nothing is active, the stream looks again as soon as one of its pools is asked for."""
        # First, so that nothing is missed where there is no such pool yet.
        self._waiting.setdefault(stream.about(trigger), {})[stream] = None
        state = self._is_active(trigger)
        if state.result:
            self._stop_waiting(stream)
        return state

    # Calls

    async def _answered(self, method: str, answer: Callable[[], Any], context: "Context") -> Any:
        try:
            reply = answer()
        except ScalerError as error:
            await self._fail(method, error.code, str(error), context)
        except Exception as error:  # a bug in one answer must not end the others
            await self._crash(method, error, context)
        self.counts.ended(method, "OK")
        return reply

    async def _streamed(self, told: "_Told", message: bytes, context: "Context") -> None:
        try:
            request = _read(pb.ScaledObjectRef, message)
            with self._place(told.method, _name(request), context) as stream:
                await self._follow(told, self._trigger(request), stream, context)
        except ScalerError as error:
            await self._fail(told.method, error.code, str(error), context)
        except asyncio.CancelledError:
            self.counts.ended(told.method, "CANCELLED")
            raise
        except Exception as error:  # a bug in one stream must not end the others
            await self._crash(told.method, error, context)
        self.counts.ended(told.method, "OK")

    async def _follow(self, told: "_Told", trigger: Trigger, stream: "_Stream", context: "Context") -> None:
        """Send the state, and again whenever it changes, until the server ends."""
        sent = None
        while not self._closing:
            stream.news.clear()
            # What is not there yet may come; KEDA would come back late to a stream that broke.
            with contextlib.suppress(NotThere, NotKnown):
                state = told.latest(trigger, stream)
                if state != sent:
                    await context.write(state)
                    sent = state
                    self.counts.pushes[told.method] += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(told.every_seconds):
                    await stream.news.wait()

    @contextlib.contextmanager
    def _place(self, method: str, scaled_object: str, context: "Context") -> "Generator[_Stream]":
        """A place among the open streams. Raises `TooMany`."""
        peer = _peer(context)
        for key, count in (("max_streams", self._peers.total()), ("max_peer_streams", self._peers[peer])):
            most = getattr(self._listen, key)
            if count >= most:
                raise TooMany(scaled_object, f"{most} streams are open, as many as keda.{key} allows")
        stream = _Stream()
        self._peers[peer] += 1
        self.counts.open[method] += 1
        self._streams[stream] = None
        self._most_streams = max(self._most_streams, len(self._streams))
        try:
            yield stream
        finally:
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]
            self.counts.open[method] -= 1
            del self._streams[stream]
            self._stop_waiting(stream)
            self._give_back()

    def _give_back(self) -> None:
        """Where many streams were open and few are left: what each takes in grpcio stays with the process else."""
        if self._most_streams >= _MANY_STREAMS and len(self._streams) < self._most_streams // 4:
            self._most_streams = len(self._streams)
            # Not now: the stream that ends here still has its own.
            asyncio.get_running_loop().call_later(_GIVE_BACK_SECONDS, return_free_memory)

    async def _fail(self, method: str, code: str, message: str, context: "Context") -> NoReturn:
        self.counts.ended(method, code)
        await context.abort(grpc.StatusCode[code], message[:_MOST_MESSAGE_CHARACTERS])

    async def _crash(self, method: str, error: Exception, context: "Context") -> NoReturn:
        _LOG.error("the external scaler failed to answer %s: %s", method, where(error))
        await self._fail(method, "INTERNAL", "the scaler failed on this call; its log says where", context)

    # News

    def _called(self, pool: ObjectKey) -> None:
        """A request came for a pool without ready endpoints: streams that said that nothing is active look again."""
        for about in (pool, ObjectKey(pool.namespace, "")):
            for stream in self._waiting.pop(about, ()):
                stream.news.set()

    def _stop_waiting(self, stream: "_Stream") -> None:
        waiting = self._waiting.get(stream.waits_for, {})
        waiting.pop(stream, None)
        if not waiting:
            self._waiting.pop(stream.waits_for, None)

    async def _observe(self) -> None:
        """Note what is known of loads, between KEDA's calls."""
        said = ""
        while True:
            try:
                self._scaler.observe(self._clock())
            except Exception as error:
                # The top of the loop: what was known before ages on.
                if said != where(error):
                    said = where(error)
                    _LOG.error("the external scaler failed to look at loads: %s", said)
            await asyncio.sleep(self._listen.look_seconds)


@dataclass(frozen=True, slots=True)
class _Told:
    """What streams of one method tell: the latest state, which is looked at so often, and whenever there is news."""

    method: str
    latest: "Callable[[Trigger, _Stream], Any]"
    every_seconds: float


class _Stream:
    """One open stream: `news` has it look again, `waits_for` is what it is about.

    `tells` is the trigger of which it tells whether that is active; None: it tells something else.
    """

    __slots__ = ("news", "tells", "waits_for")

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.waits_for = ObjectKey("", "")
        self.tells: Trigger | None = None

    def about(self, trigger: Trigger) -> ObjectKey:
        """Tell whether `trigger` is active; gives the pool that it is about, without name: all of the namespace."""
        scope, self.tells = trigger.scope, trigger
        self.waits_for = ObjectKey(scope.namespace, scope.pool or "")
        return self.waits_for


def whole(number: float) -> int:
    """A number for versions of KEDA that read integers: rounded up, so that little is not nothing."""
    return min(math.ceil(number), 2**63 - 1)


def _read(asked: Any, message: bytes) -> Any:
    """The message of the type `asked`. Raises `InvalidTrigger`."""
    try:
        return asked.FromString(message)
    except DecodeError:
        raise InvalidTrigger("that cannot be read", f"the message is no {asked.DESCRIPTOR.name}") from None


def _name(request: pb.ScaledObjectRef) -> str:
    return f"{request.namespace[:253]}/{request.name[:253]}"


def _peer(context: "Context") -> str:
    """The address a stream comes from, without its port."""
    return unquote(context.peer()).rpartition(":")[0]
