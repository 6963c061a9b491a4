"""Bytes that come in pieces, kept until they are whole."""

from typing import Final

_KEPT_APART: Final = 16
_LARGE_BYTES: Final = 4_096
_CHUNK_BYTES: Final = 65_536


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
        if self._together is not None:
            self._apart.append(bytes(self._together))
            self._together = None
        whole = b"".join(self._apart)
        self.clear()
        return whole

    def clear(self) -> None:
        """Keep nothing."""
        self.size_bytes = 0
        self._apart = []
        self._together = None
