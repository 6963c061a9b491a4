"""Bytes that come in pieces, kept until they are whole."""

from collections.abc import Generator
from io import BytesIO
from typing import Final

_KEPT_APART: Final = 16
_LARGE_BYTES: Final = 4_096
_CHUNK_BYTES: Final = 65_536
_STEP_BYTES: Final = 2 << 20


class Pieces:
    """Pieces in order. However small they are, they are few objects: behind the first 16, small ones are put together.

    `size_bytes` is how much they hold.
    """

    __slots__ = ("_apart", "_together", "size_bytes")

    def __init__(self) -> None:
        self.size_bytes = 0
        self._apart: list[bytes] = []
        self._together: bytearray | None = None

    def add(self, piece: bytes) -> None:
        """Keep one more."""
        size = len(piece)
        if not size:
            return
        self.size_bytes += size
        together = self._together
        if together is None:
            if size >= _LARGE_BYTES or len(self._apart) < _KEPT_APART:
                self._apart.append(piece)
            else:
                self._together = bytearray(piece)
            return
        together += piece
        if len(together) >= _CHUNK_BYTES:
            self._apart.append(bytes(together))
            self._together = None

    def take(self) -> bytes:
        """Everything, which is kept no longer."""
        whole = b"".join(self.apart())
        self.clear()
        return whole

    def join(self) -> Generator[None, None, None]:
        """Put the pieces together, so that `take` copies nothing, with a pause after every 2 MiB.

        Nothing is added meanwhile.
        """
        apart = self.apart()
        if len(apart) < 2:
            return
        # It grows without being copied, and what is in it needs no room elsewhere any more.
        whole, written = BytesIO(), 0
        apart.reverse()
        while apart:
            written += whole.write(apart.pop())
            if written >= _STEP_BYTES:
                written = 0
                yield
        apart.append(whole.getvalue())

    def apart(self) -> list[bytes]:
        """The pieces as they are kept."""
        if self._together is not None:
            self._apart.append(bytes(self._together))
            self._together = None
        return self._apart

    def clear(self) -> None:
        """Keep nothing."""
        self.size_bytes = 0
        self._apart = []
        self._together = None
