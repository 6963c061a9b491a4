"""One exchange on one stream: gRPC messages in, what the exchange says to them out."""

from collections.abc import Callable

from picker import wire
from picker.errors import WireError
from picker.exchange import Exchange
from picker.messages import Fail, Send
from picker.transport.calls import Calls
from picker.transport.crash import CRASHED, log_crash
from picker.transport.h2.grpc import ANSWER, DONE, BadMessage, Messages, prefix, trailers
from picker.transport.interface import Clock


class ExchangeCall:
    """A call of ext_proc's method on `stream`; see `picker.transport.calls.Call`."""

    __slots__ = ("_answered", "_calls", "_clock", "_exchange", "_messages", "_over", "_stream")

    def __init__(self, calls: Calls, stream: int, exchange: Exchange, clock: Clock, max_message_bytes: int) -> None:
        self._calls = calls
        self._stream = stream
        self._exchange = exchange
        self._clock = clock
        self._messages = Messages(max_message_bytes)
        self._answered = False
        self._over = False

    def received(self, data: bytes, *, ended: bool) -> None:
        """Take in a piece of what the gateway sends; `ended`: the last one."""
        if self._over:
            return
        try:
            self._receive(data)
            if ended and not self._over and not self._messages.whole:
                raise BadMessage("INVALID_ARGUMENT", "the stream ends within a message")
        except (BadMessage, WireError) as error:
            self._tell(self._exchange.failed)
            status = error.status if isinstance(error, BadMessage) else "INVALID_ARGUMENT"
            self._finish(trailers(status, str(error)))
        except Exception as error:  # a bug in one exchange must not end the others
            log_crash(error)
            self._tell(self._exchange.failed)
            self._finish(trailers(CRASHED.status, CRASHED.message))
        if ended and not self._over:
            self._tell(self._exchange.closed)
            self._finish(DONE)

    def gone(self) -> None:
        """The stream is over before its time."""
        if not self._over:
            self._over = True
            self._tell(self._exchange.closed)

    def _receive(self, data: bytes) -> None:
        out: list[bytes] = []
        exchange = self._exchange
        for message in self._messages.feed(data):
            sends = exchange.receive(wire.decode(message), self._clock())
            failure = _encoded(sends, out)
            if failure is not None:
                self._finish(trailers(failure.status, failure.message), b"".join(out))
                return
            if exchange.over:
                self._tell(exchange.closed)
                self._finish(DONE, b"".join(out))
                return
        if out:
            self._begin()
            self._calls.send(self._stream, b"".join(out))

    def _begin(self) -> None:
        if not self._answered:
            self._answered = True
            self._calls.answer(self._stream, ANSWER)

    def _finish(self, end: bytes, data: bytes = b"") -> None:
        self._over = True
        self._begin()
        self._calls.send(self._stream, data, end)

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
        out.append(prefix(message))
        out.append(message)
    return None
