"""Messages with their length in front, as gRPC has them (PROTOCOL-HTTP2, "Length-Prefixed-Message").

In front of a message stand a flag, 1 where it is compressed, and its length in four bytes, the highest first.
"""

from collections.abc import Callable
from typing import Final

from infscale.framing.pieces import Pieces

HEAD_BYTES: Final = 5
MOST_BYTES: Final = (1 << 32) - 1
"""The longest message there can be."""


def head(message: bytes) -> bytes:
    """What stands in front of a message that is not compressed."""
    return len(message).to_bytes(HEAD_BYTES, "big")


def framed(message: bytes) -> bytes:
    """A message with its head."""
    return head(message) + message


class Messages:
    """Cuts bytes into messages.

    Those that are compressed or longer than `max_bytes` are passed over. `refuse` hears of each before it comes, with
    whether it is compressed and with `max_bytes`, and may raise.

    One that came in pieces and has `apart_bytes` or more is not joined: `apart` has it until it is set to None. It
    stands before the messages that the same `feed` returned.
    """

    __slots__ = ("_apart_bytes", "_head", "_max_bytes", "_missing_bytes", "_pieces", "_refuse", "apart")

    def __init__(
        self,
        max_bytes: int,
        refuse: Callable[[bool, int], None] | None = None,
        apart_bytes: int = MOST_BYTES + 1,
    ) -> None:
        self._max_bytes = max_bytes
        self._refuse = refuse
        self._apart_bytes = apart_bytes
        self.apart: Pieces | None = None
        # What came of a head, and of the message behind one: None of one that is passed over. So much is to come.
        self._head = b""
        self._pieces: Pieces | None = None
        self._missing_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take in the next bytes; the messages that are whole now."""
        messages: list[bytes] = []
        place, stop = self._missing_bytes, len(data)
        if place:
            pieces = self._pieces
            if place > stop:
                if pieces is not None:
                    pieces.add(data)
                self._missing_bytes = place - stop
                return messages
            if pieces is not None:
                pieces.add(data if place == stop else data[:place])
                self._end(pieces, messages)
            self._missing_bytes = 0
        elif self._head:
            data = self._head + data
            stop = len(data)
            self._head = b""
        while stop - place >= HEAD_BYTES:
            size = data[place + 1] << 24 | data[place + 2] << 16 | data[place + 3] << 8 | data[place + 4]
            taken = self._takes(data[place], size)
            place += HEAD_BYTES
            end = place + size
            if end > stop:
                if taken:
                    self._pieces = Pieces()
                    self._pieces.add(data[place:])
                self._missing_bytes = end - stop
                return messages
            if taken:
                messages.append(data[place:end])
            place = end
        self._head = data[place:]
        return messages

    @property
    def whole(self) -> bool:
        """Whether no message has begun and not ended."""
        return not self._missing_bytes and not self._head

    @property
    def held_bytes(self) -> int:
        """What is kept of a message that has begun."""
        return len(self._head) if self._pieces is None else self._pieces.size_bytes

    def clear(self) -> None:
        """Keep nothing; a message begins with what comes next."""
        self._head = b""
        self._pieces = None
        self._missing_bytes = 0
        self.apart = None

    def _end(self, pieces: Pieces, messages: list[bytes]) -> None:
        """A message that came in pieces is whole."""
        self._pieces = None
        if pieces.size_bytes >= self._apart_bytes:
            self.apart = pieces
        else:
            messages.append(pieces.take())

    def _takes(self, flag: int, size: int) -> bool:
        if not flag and size <= self._max_bytes:
            return True
        if self._refuse is not None:
            self._refuse(flag != 0, self._max_bytes)
        return False
