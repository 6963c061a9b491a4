"""One exchange on one stream: gRPC messages in, what the exchange says to them out."""

from collections.abc import Callable
from typing import Final

from infscale.framing.length_prefixed import Messages, head
from infscale.framing.pieces import Pieces
from picker.errors import WireError
from picker.ext_proc import wire_codec as wire
from picker.ext_proc.exchange import Exchange
from picker.ext_proc.messages import Fail, Incoming, RequestBody, Send
from picker.request import Rejection, Verdict
from picker.transport.budget import Budget, Ending, Holding
from picker.transport.endings import CRASHED, EXCHANGE_BYTES, check_message, kept_bytes, log_crash, rejection
from picker.transport.h2.grpc import ANSWER, DONE, BadMessage, refuse, trailers
from picker.transport.interface import Clock
from picker.transport.server.calls import Calls

# What a message and a decision cost, in units of work.
_MESSAGE_UNITS: Final = 4
_SENDS_UNITS: Final = 50
_BYTES_A_UNIT: Final = 1_024
# To join what is longer, only to cut its body out again, takes longer than a turn of the loop has.
_APART_BYTES: Final = 1 << 20


class ExchangeCall:
    """A call of ext_proc's method on `stream`; see `picker.transport.server.calls.Call`."""

    __slots__ = (
        "_answered",
        "_calls",
        "_clock",
        "_ended",
        "_exchange",
        "_kept_bytes",
        "_messages",
        "_over",
        "_stream",
        "holding",
    )

    def __init__(
        self, calls: Calls, stream: int, exchange: Exchange, clock: Clock, budget: Budget, max_message_bytes: int
    ) -> None:
        self._calls = calls
        self._stream = stream
        self._exchange = exchange
        self._clock = clock
        self._messages = Messages(max_message_bytes, refuse, _APART_BYTES)
        self._answered = False
        self._ended = False
        self._over = False
        self._kept_bytes = EXCHANGE_BYTES
        self.holding = Holding(budget, self, arriving=True)
        self.holding.set(EXCHANGE_BYTES)

    def received(self, data: bytes, *, ended: bool) -> None:
        """Take in a piece of what the gateway sends; `ended`: the last one."""
        if self._over:
            return
        self.holding.came_bytes += len(data)
        self._ended = ended
        try:
            self._receive(data)
            if ended and not self._over and not self._messages.whole:
                raise BadMessage("INVALID_ARGUMENT", "the stream ends within a message")
        except (BadMessage, WireError) as error:
            self._tell(self._exchange.failed)
            status = error.status if isinstance(error, BadMessage) else "INVALID_ARGUMENT"
            self._finish(trailers(status, str(error)))
        except Exception as error:  # a bug in one exchange must not end the others
            self._crashed(error)
        self._settle()

    def step(self) -> bool:
        """Go on with a large body; whether there is more to do with it."""
        if not self._over:
            self._act(self._exchange.go_on)
        return not self._over and self._exchange.pending

    def gone(self) -> None:
        """The stream is over before its time."""
        if not self._over:
            self._close()
            self._tell(self._exchange.closed)

    def go_on(self) -> None:
        """See `picker.transport.budget.Holder`."""
        self._calls.h2.open_window(self._stream)

    def end(self, why: Ending) -> None:
        """Answer for what has to end; see `picker.transport.budget.Holder`."""
        if self._over:
            return
        out: list[bytes] = []
        failure = _encoded(self._exchange.give_up(rejection(why), self._clock()), out)
        end = DONE if failure is None else trailers(failure.status, failure.message)
        self._tell(self._exchange.closed)
        self._finish(end, b"".join(out))

    def _receive(self, data: bytes) -> None:
        out: list[bytes] = []
        messages = self._messages.feed(data)
        long = self._messages.apart
        if long is not None:
            self._messages.apart = None
            if not self._hear_long(long, out):
                return
        for message in messages:
            if not self._hear_whole(message, out):
                return
        self._send(out)

    def _hear_long(self, message: Pieces, out: list[bytes]) -> bool:
        parts = wire.decode_apart(message) if self._exchange.buffering else None
        if parts is None:
            return self._hear_whole(message.take(), out)
        body, beside = parts
        for piece in body:
            if not self._hear(Incoming(RequestBody(piece)), len(piece), out):
                return False
        return self._hear(beside, 0, out)

    def _hear_whole(self, message: bytes, out: list[bytes]) -> bool:
        check_message(message)
        incoming = wire.decode(message)
        self._kept_bytes += kept_bytes(incoming, len(message))
        return self._hear(incoming, len(message), out)

    def _hear(self, incoming: Incoming, size_bytes: int, out: list[bytes]) -> bool:
        """Append to `out` what the exchange says to a message; False: that ends the call, and all of it is sent."""
        sends = self._exchange.receive(incoming, self._clock())
        self._calls.units += _MESSAGE_UNITS
        if sends:
            # The body is read as a whole now: a turn of the loop has time for one that is long.
            self._calls.units += _SENDS_UNITS + (self.holding.held_bytes + size_bytes) // _BYTES_A_UNIT
        return self._carry_out(sends, out)

    def _resumed(self, verdict: Verdict) -> None:
        """The request that waited has its verdict."""
        self._act(lambda now: self._exchange.resume(verdict, now))
        self._calls.woken()

    def _recalled(self, rejection: Rejection) -> None:
        """The request is taken back."""
        self._act(lambda now: self._exchange.evict(rejection, now))
        self._calls.woken()

    def _act(self, how: Callable[[float], list[Send]]) -> None:
        """Do what no message of the gateway asks for."""
        out: list[bytes] = []
        try:
            if self._carry_out(how(self._clock()), out):
                self._send(out)
        except Exception as error:  # a bug in one exchange must not end the others
            self._crashed(error)
        self._settle()

    def _carry_out(self, sends: list[Send], out: list[bytes]) -> bool:
        """Append what is sent to `out`; False: that ends the call, and all of it is sent."""
        exchange = self._exchange
        failure = _encoded(sends, out)
        if failure is not None:
            self._finish(trailers(failure.status, failure.message), b"".join(out))
            return False
        if exchange.over:
            self._tell(exchange.closed)
            self._finish(DONE, b"".join(out))
            return False
        return True

    def _send(self, out: list[bytes]) -> None:
        if out:
            self._begin()
            self._calls.send(self._stream, b"".join(out))

    def _settle(self) -> None:
        """End what has come to its end; have what has not gone on with, and account for it."""
        if self._over:
            return
        exchange = self._exchange
        held = exchange.held
        if exchange.recall is not None:
            exchange.recall.listen(self._recalled)
        if exchange.pending:
            self._calls.later(self._stream, self.step)
        elif held is not None:
            held.listen(self._resumed)
        elif self._ended:
            self._tell(exchange.closed)
            self._finish(DONE)
            return
        self._account()

    def _crashed(self, error: Exception) -> None:
        log_crash(error)
        self._tell(self._exchange.failed)
        self._finish(trailers(CRASHED.status, CRASHED.message))

    def _account(self) -> None:
        holding = self.holding
        held_bytes = self._kept_bytes + self._exchange.held_bytes
        if not self._messages.whole:
            held_bytes += self._messages.held_bytes
        if held_bytes != holding.held_bytes:
            holding.set(held_bytes)
        if holding.arriving and not self._exchange.arriving:
            holding.arrived()

    def _begin(self) -> None:
        if not self._answered:
            self._answered = True
            self._calls.h2.respond(self._stream, ANSWER)

    def _finish(self, end: bytes, data: bytes = b"") -> None:
        self._close()
        self._begin()
        self._calls.send(self._stream, data, end)

    def _close(self) -> None:
        self._over = True
        self._messages.clear()
        self.holding.close()

    def _tell(self, how: Callable[[float], None]) -> None:
        try:
            how(self._clock())
        except Exception as error:  # a bug in one exchange must not end the others
            log_crash(error)


def _encoded(sends: list[Send], out: list[bytes]) -> Fail | None:
    """Append what is sent to `out`; the failure that ends it, if there is one."""
    for send in sends:
        if isinstance(send, Fail):
            return send
        message = wire.encode(send)
        # Apart, for what joins them copies them anyway.
        out.append(head(message))
        out.append(message)
    return None
