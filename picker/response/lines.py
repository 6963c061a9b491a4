"""Lines of a stream that arrives in chunks."""


class LineBuffer:
    """Cuts chunks into lines. The unfinished end of the last chunk is kept, up to `limit_bytes`.

    A longer line comes out in parts as it arrives, and its parts mean nothing to whoever reads lines.
    """

    __slots__ = ("_kept", "_kept_bytes", "_limit_bytes")

    def __init__(self, limit_bytes: int = 1 << 20) -> None:
        self._limit_bytes = limit_bytes
        self._kept: list[bytes] = []
        self._kept_bytes = 0

    @property
    def empty(self) -> bool:
        """Whether no line is unfinished."""
        return not self._kept

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, newlines included."""
        head, newline, tail = chunk.rpartition(b"\n")
        lines = [line + b"\n" for line in (self.rest() + head).split(b"\n")] if newline else []
        if tail:
            self._kept.append(tail)
            self._kept_bytes += len(tail)
        if self._kept_bytes > self._limit_bytes:
            lines.append(self.rest())
        return lines

    def rest(self) -> bytes:
        """What is kept, given up."""
        kept = b"".join(self._kept)
        self._kept.clear()
        self._kept_bytes = 0
        return kept
