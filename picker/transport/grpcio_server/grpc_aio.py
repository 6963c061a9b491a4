"""ext_proc over grpcio's asyncio server: the reference transport, for one event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from infscale.endpoint import authority
from infscale.errors import StartError
from infscale.process.grpc_certificate import GrpcCertificate
from infscale.process.grpc_listening import bind
from infscale.process.tasks import running
from picker.errors import WireError
from picker.ext_proc import wire_codec as wire
from picker.ext_proc.messages import Fail, Send
from picker.request import Rejection, Verdict
from picker.transport.endings import CRASHED, check_message, kept_bytes, log_crash
from picker.transport.grpcio_server.carried_exchange import CarriedExchange
from picker.transport.grpcio_server.health_grpc import health_handler
from picker.transport.interface import EXT_PROC_SERVICE, FOLLOW_SECONDS, Clock, NewExchange, Ready, TransportSettings
from picker.transport.transport import Transport

_HELD_BACK_SECONDS = 0.05
_POLL_SECONDS = 0.02

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[bytes, bytes]
    Handler = grpc.GenericRpcHandler[Any, Any]


class GrpcTransport(Transport):
    """A transport by grpcio's server."""

    def __init__(self, settings: TransportSettings, new_exchange: NewExchange, clock: Clock, ready: Ready) -> None:
        super().__init__(settings, new_exchange, clock, ready)
        self._calls: dict[CarriedExchange, None] = {}
        # Each large body is kept in several copies while its steps are done.
        self._one_at_a_time = asyncio.Lock()
        self._tasks = asyncio.TaskGroup()
        self._servers: list[grpc.aio.Server] = []

    async def _serve(self, stack: contextlib.AsyncExitStack) -> None:
        settings = self._settings
        methods = {"Process": grpc.stream_stream_rpc_method_handler(self._exchange)}
        exchanges = grpc.method_handlers_generic_handler(EXT_PROC_SERVICE, methods)
        self._tasks = await stack.enter_async_context(running(self._sweep(settings.body_timeout_seconds, self._look)))
        stack.push_async_callback(self._end, 0.0)
        where = authority(settings.address, settings.port)
        await self._listen(where, await self._credentials(stack), exchanges, health_handler(self._health))
        if settings.health_port is not None:
            # Probes speak plain text: they carry nothing worth hiding and know no certificate.
            where = authority(settings.health_address or settings.address, settings.health_port)
            await self._listen(where, None, health_handler(self._health))

    async def _credentials(self, stack: contextlib.AsyncExitStack) -> grpc.ServerCredentials | None:
        """What to listen with, followed until `stack` is closed where that is wanted; None: in plain text."""
        tls = self._settings.tls
        if tls is None:
            return None
        if tls.min_version != "1.2":
            raise StartError("the transport grpc_aio speaks TLS 1.2 and newer; it cannot be kept from speaking TLS 1.2")
        certificate = GrpcCertificate("the picker", *tls.paths)
        credentials = await certificate.load()
        if tls.reload:
            await stack.enter_async_context(running(certificate.followed.follow(FOLLOW_SECONDS)))
        return credentials

    async def _listen(self, where: str, credentials: grpc.ServerCredentials | None, *handlers: "Handler") -> None:
        limit = self._settings.max_message_bytes
        # Two servers would share a port silently: the second start should say that it is taken.
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", limit)]
        server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers(handlers)
        self._ports.append(bind("the picker", server, where, "picker.listen", credentials))
        await server.start()
        self._servers.append(server)

    async def _end(self, grace_seconds: float) -> None:
        self._health.stop()
        servers, self._servers = self._servers, []
        # In order: the exchange port drains while the health port, the last, still says so.
        for server in servers:
            await self._stop_one(server, grace_seconds)

    async def _stop_one(self, server: grpc.aio.Server, grace_seconds: float) -> None:
        """Let exchanges end, no longer than that. A connection without any would be waited for as well."""
        if grace_seconds:
            async with asyncio.TaskGroup() as tasks:
                stopping = tasks.create_task(server.stop(grace_seconds))
                # Waits for a first round, in which the server takes no more.
                await asyncio.sleep(0)
                while self._calls and not stopping.done():  # noqa: ASYNC110 # at the end only
                    await asyncio.sleep(_POLL_SECONDS)
                stopping.cancel()
        await server.stop(None)

    async def _exchange(self, requests: AsyncIterator[bytes], context: "Context") -> None:
        failure: Fail | None = CRASHED
        call = CarriedExchange(self._new_exchange(), self._clock, self.budget)
        self._calls[call] = None
        try:
            failure = await self._carry(call, requests, context)
        except Exception as error:  # a bug in one exchange must not end the others
            log_crash(error)
        finally:
            call.close()
            self._calls.pop(call, None)
        if failure is not None:
            await context.abort(grpc.StatusCode[failure.status], failure.message)

    async def _carry(self, call: CarriedExchange, requests: AsyncIterator[bytes], context: "Context") -> Fail | None:
        """Run one exchange; however it ends, also by cancellation, the exchange learns of it."""
        exchange = call.exchange
        try:
            async with asyncio.timeout(None) as call.patience:
                try:
                    failure = await self._converse(call, requests, context)
                finally:
                    # What would stop it now comes too late: it is at its end.
                    call.patience = None
        except TimeoutError:
            failure = call.failure if call.stopped else await _write(call.last_words(), context)
        except Exception:
            exchange.failed(self._clock())
            raise
        except asyncio.CancelledError:
            exchange.closed(self._clock())
            raise
        exchange.closed(self._clock())
        return failure

    async def _converse(self, call: CarriedExchange, requests: AsyncIterator[bytes], context: "Context") -> Fail | None:
        """Carry messages until the exchange or the gateway ends the stream; why it failed, if it did."""
        exchange = call.exchange
        async for data in requests:
            try:
                check_message(data)
                message = wire.decode(data)
            except WireError as error:
                exchange.failed(self._clock())
                return Fail("INVALID_ARGUMENT", str(error))
            call.unsaid += exchange.receive(message, self._clock())
            call.account(len(data), kept_bytes(message, len(data)))
            self._heed(call, context)
            failure = await self._say(call, context)
            if failure is not None:
                return failure
            if exchange.over:
                break
            if exchange.held is not None:
                exchange.held.listen(lambda verdict: self._resumed(call, verdict, context))
            self._relieve()
            while not call.may_go_on:  # noqa: ASYNC110 # while memory is short alone
                await asyncio.sleep(_HELD_BACK_SECONDS)
        if exchange.held is not None:
            # The gateway sends no more, and still wants the answer.
            await call.resumed.wait()
        return None

    def _resumed(self, call: CarriedExchange, verdict: Verdict, context: "Context") -> None:
        """The request that waited has its verdict: its task waits for the gateway, so that another one says it."""
        self._say_more(call, lambda now: call.exchange.resume(verdict, now), context)
        self._heed(call, context)

    def _heed(self, call: CarriedExchange, context: "Context") -> None:
        """Have the request taken back when it is to be."""
        recall = call.exchange.recall
        if recall is not None:
            recall.listen(lambda rejection: self._recalled(call, rejection, context))

    def _recalled(self, call: CarriedExchange, rejection: Rejection, context: "Context") -> None:
        self._say_more(call, lambda now: call.exchange.evict(rejection, now), context)

    def _say_more(self, call: CarriedExchange, how: Callable[[float], list[Send]], context: "Context") -> None:
        """Do what no message of the gateway asks for."""
        try:
            call.unsaid += how(self._clock())
        except Exception as error:  # a bug in one exchange must not end the others
            log_crash(error)
            call.exchange.failed(self._clock())
            call.stop(CRASHED)
            return
        call.account(0, 0)
        self._tasks.create_task(self._say_by_itself(call, context))

    async def _say_by_itself(self, call: CarriedExchange, context: "Context") -> None:
        try:
            failure = await self._say(call, context)
            if failure is not None or call.exchange.over:
                call.stop(failure)
        except Exception as error:  # the task of the exchange finds its stream broken, too
            log_crash(error)
            call.stop(CRASHED)
        finally:
            call.resumed.set()

    async def _say(self, call: CarriedExchange, context: "Context") -> Fail | None:
        """Send what is to be sent, and go through the steps of a large body; the failure that ends it."""
        exchange = call.exchange
        async with call.saying:
            failure = await _write(call.unsaid, context)
            while failure is None and exchange.pending:
                # Never while something is sent: a gateway that does not read would keep all others waiting.
                async with self._one_at_a_time:
                    while exchange.pending and not call.unsaid:
                        await asyncio.sleep(0)
                        call.unsaid += exchange.go_on(self._clock())
                call.account(0, 0)
                failure = await _write(call.unsaid, context)
        return failure

    def _relieve(self) -> None:
        while (victim := self.budget.victim()) is not None:
            self._notes.acted("body_memory", "", self._clock())
            victim.end("over budget")

    def _look(self, now: float) -> None:
        arriving = [call.holding for call in self._calls if call.holding.arriving]
        for holding, why in self.budget.late(arriving, now, self._settings.body_timeout_seconds):
            self._notes.acted("body_memory" if why == "held back" else "stalled_body", "", now)
            holding.end(why)


async def _write(sends: list[Send], context: "Context") -> Fail | None:
    """Send what is to be sent, which is then taken out of `sends`; the failure among it, which ends the stream."""
    while sends:
        send = sends.pop(0)
        if isinstance(send, Fail):
            return send
        await context.write(wire.encode(send))
    return None
