"""One connection of a gateway: carries bytes between its socket and its calls, in turns with the others."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import cast

from picker.transport.budget import Ending, Holding
from picker.transport.health import HEALTH_SERVICE
from picker.transport.interface import EXT_PROC_SERVICE, NewExchange
from picker.transport.server.calls import Call, Calls
from picker.transport.server.exchange_call import ExchangeCall
from picker.transport.server.health_calls import HealthCheck, HealthWatch
from picker.transport.server.port import Port
from picker.transport.server.short_calls import PlainCall
from picker.transport.server.turns import SLICE_UNITS

_PROCESS = f"/{EXT_PROC_SERVICE}/Process"
_CHECK, _WATCH = f"/{HEALTH_SERVICE}/Check", f"/{HEALTH_SERVICE}/Watch"
# A gateway that vanished without a word is found out after 15 + 3 × 5 s.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
# While memory is short, less is done at a stretch: each call that ends may leave a whole body among the answers.
_SHORT_UNITS = 50


class GatewayConnection(asyncio.Protocol):
    """One connection. With `new_exchange` None it has health checks alone."""

    def __init__(self, port: Port, new_exchange: NewExchange | None) -> None:
        self._port = port
        self._new_exchange = new_exchange
        self._calls = Calls(port.limits, self)
        self._transport: asyncio.Transport | None = None
        # Ends it as long as its handshake goes on.
        self._cut_door: Callable[[], None] | None = None
        self._entered = False
        self._answers = Holding(port.budget, self, arriving=False)
        self._opened_at = port.clock()
        # Whether the gateway does not read, since when, whether its socket is not read, and whether a turn is to come.
        self._stuffed_at: float | None = None
        self._paused = False
        self._waits = False
        # The frame that has begun and not ended, and since when that is known.
        self._unfinished: int | None = None
        self._unfinished_at = 0.0
        self.peer = ""

    @property
    def busy(self) -> bool:
        """Whether an exchange is open on it."""
        return any(isinstance(call, ExchangeCall) for call in self._calls.open)

    @property
    def idle_since(self) -> float | None:
        """When it last brought something, counted in reads of all connections; None: a call is open on it."""
        return None if any(True for _ in self._calls.open) else self._calls.last_read

    @property
    def stepping(self) -> bool:
        """Whether there are steps to do of what is too long for a turn."""
        return self._calls.stepping

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, if there is one, and greet."""
        # uvloop's transports are no subclasses of asyncio's.
        made = cast("asyncio.Transport", transport)
        if not self._entered:
            if not self.enter(_address(transport), made.abort):
                made.abort()
                return
            keep_alive(transport.get_extra_info("socket"))
        self._cut_door = None
        self._transport = made
        self.flush()

    def enter(self, peer: str, cut: Callable[[], None]) -> bool:
        """Take a place for what comes from `peer`, if there is one; `cut` ends it before `connection_made`."""
        self.peer = peer
        self._entered = self._port.enter(self)
        self._cut_door = cut
        return self._entered

    def data_received(self, data: bytes) -> None:
        """Go on with it now, or in a turn to come."""
        if self._paused:
            self._calls.h2.feed(data)
            return
        port = self._port
        out = self._calls.read_through(data, port.turns, self, port.budget)
        if out is None:
            self._look()
            return
        if out and self._transport is not None:
            self._transport.write(out)
        if port.turns.used:
            port.ask_turn()

    def eof_received(self) -> None:
        """The gateway sends no more: the transport closes the connection."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Every call on it is over, and its place is free."""
        del exc
        self._transport = None
        self._port.leave(self)
        self._calls.lost()
        self._answers.close()
        self._port.relieve()

    def pause_writing(self) -> None:
        """The gateway does not read: what it sends is not read either, or its answers would pile up here."""
        self._stuffed_at = self._port.clock()
        self._account()
        self._pause()

    def resume_writing(self) -> None:
        """The gateway reads again."""
        self._stuffed_at = None
        self._account()
        if self._calls.pending:
            self._wait()
        else:
            self._resume()

    # What the port and the calls ask

    def work(self) -> None:
        """Go on with what has come, for one stretch."""
        self._waits = False
        if self._transport is None or self._stuffed_at is not None:
            return
        port = self._port
        short = port.budget.tight
        did = self._calls.work(_SHORT_UNITS if short else port.turns.stretch, hold_back=short)
        self.flush()
        port.did(self, did)
        if self._calls.failed:
            port.notes.acted("protocol_fault", self.peer, port.clock())
            self.cut()
        elif self._calls.pending:
            self._wait()
        else:
            if self._calls.h2.greeted:
                port.places.prove(self)
            self._resume()
        if short:
            # Those of its calls that may send more.
            self._calls.open_windows(port.budget.may_grow)
            self.flush()
        if port.budget.over or port.budget.waited_for:
            port.relieve()

    def step(self) -> bool:
        """Do a step of the longest work that has come; whether there are more of that."""
        more = self._calls.step()
        self.flush()
        if self._port.budget.waited_for:
            self._port.relieve()
        return more

    def leave(self) -> None:
        """Take no new calls."""
        self._calls.h2.leave()
        self.flush()

    def cut(self) -> None:
        """End it now; calls that are open are told."""
        if self._transport is not None:
            self._transport.close()
        elif self._cut_door is not None:
            self._cut_door()

    def flush(self) -> None:
        """Write what is to be sent; see `picker.transport.server.calls.Owner`."""
        out = self._calls.h2.take()
        if out and self._transport is not None:
            self._transport.write(b"".join(out))
        if self._calls.h2.queued_bytes or self._answers.held_bytes or self._stuffed_at is not None:
            self._account()

    def end(self, why: Ending) -> None:
        """Give up the answer of which most waits; see `picker.transport.budget.Holder`."""
        del why
        if not self._calls.drop_unread() and self._transport is not None:
            self._transport.abort()
            self._answers.set(0)
        self.flush()

    def go_on(self) -> None:
        """See `picker.transport.budget.Holder`: answers do not wait for memory."""

    def wants_steps(self) -> None:
        """See `picker.transport.server.calls.Owner`."""
        self._port.later(self)

    def open_call(self, calls: Calls, path: str | None, stream: int) -> Call | None:
        """See `picker.transport.server.calls.Owner`."""
        port = self._port
        if path is None:
            return PlainCall(calls, stream, port.budget)
        if path == _PROCESS and self._new_exchange is not None:
            return ExchangeCall(
                calls, stream, self._new_exchange(), port.clock, port.budget, port.settings.max_message_bytes
            )
        if path == _CHECK:
            return HealthCheck(calls, stream, port.budget, port.health)
        if path == _WATCH:
            return HealthWatch(calls, stream, port.budget, port.health, port.tasks)
        return None

    # Time, as it is looked at from time to time

    def arriving(self) -> Iterator[Holding]:
        """What is still to come on it."""
        return (call.holding for call in self._calls.open if call.holding.arriving)

    def silent(self, now: float, limit_seconds: float) -> bool:
        """Whether its gateway has said nothing of use for too long since it connected."""
        return not self._calls.h2.greeted and now - self._opened_at >= limit_seconds

    def dripping(self, now: float, limit_seconds: float) -> bool:
        """Whether a frame or header block has not come to its end for too long, however often a byte of it comes."""
        unfinished = None if self._paused or self._waits else self._calls.unfinished
        if unfinished is None or unfinished != self._unfinished:
            self._unfinished, self._unfinished_at = unfinished, now
        return unfinished is not None and now - self._unfinished_at >= limit_seconds

    def unread(self, now: float, limit_seconds: float) -> int:
        """Give up the answers that its gateway has not taken for too long; how many those were."""
        if self._stuffed_at is not None and now - self._stuffed_at >= limit_seconds and self._transport is not None:
            self._transport.abort()
            return 1
        return self._calls.drop_stuck(now, limit_seconds)

    def give_up(self, why: str) -> None:
        """The gateway loses the connection, and is told why."""
        self._calls.fail(why)
        while self._calls.pending:
            self._calls.work(SLICE_UNITS)
        self.flush()
        self.cut()

    # Its own

    def _look(self) -> None:
        """Go on with a read that could not be gone through at once, now or in a turn to come."""
        if self._waits:
            # Not before: a turn takes less than it takes to have a socket left out and taken in again.
            self._pause()
        elif self._port.turns.left or not self._calls.pending:
            self.work()
        else:
            self._wait()

    def _account(self) -> None:
        size = self._calls.h2.queued_bytes
        if self._stuffed_at is not None and self._transport is not None:
            size += self._transport.get_write_buffer_size()
        self._answers.set(size)

    def _wait(self) -> None:
        """Go on in a turn to come."""
        if self._port.budget.tight:
            # No more is taken in than there is room for.
            self._pause()
        if self._stuffed_at is None:
            self._waits = True
            self._port.wait(self)

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()


def _address(transport: asyncio.BaseTransport) -> str:
    """The address of the peer, without its port."""
    name = transport.get_extra_info("peername")
    return str(name[0]) if name else ""


def keep_alive(connection: socket.socket | None) -> None:
    """Find out when the peer has vanished, and send small answers at once."""
    if connection is None:
        return
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option, value in _KEEPALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
