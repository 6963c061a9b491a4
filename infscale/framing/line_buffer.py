"""Lines of a stream that arrives in chunks."""

from infscale.framing.pieces import Pieces


class LineBuffer:
    r"""Cuts chunks into lines, which end in ``\n``, ``\r\n`` or ``\r`` alone.

    The unfinished end of the last chunk is kept, up to `limit_bytes`. A longer line comes out in parts as it arrives,
    and its parts mean nothing to a reader of lines. At the end of a chunk a ``\r`` is unfinished: ``\n`` may come.
    """

    __slots__ = ("_half_ended", "_kept", "_limit_bytes")

    def __init__(self, limit_bytes: int = 1 << 20) -> None:
        self._limit_bytes = limit_bytes
        self._kept = Pieces()
        # What is kept ends in a carriage return.
        self._half_ended = False

    @property
    def empty(self) -> bool:
        """Whether no line is unfinished."""
        return not self._kept.size_bytes

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, their ends included."""
        lines: list[bytes] = []
        if b"\n" in chunk or b"\r" in chunk or self._half_ended:
            lines = (self.rest() + chunk).splitlines(keepends=True)
            chunk = b"" if lines[-1].endswith(b"\n") else lines.pop()
        if chunk:
            self._kept.add(chunk)
            self._half_ended = chunk.endswith(b"\r")
        if self._kept.size_bytes > self._limit_bytes:
            lines.append(self.rest())
        return lines

    def rest(self) -> bytes:
        """What is kept, given up."""
        self._half_ended = False
        return self._kept.take()
