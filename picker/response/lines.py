"""Lines of a stream that arrives in chunks."""


class LineBuffer:
    r"""Cuts chunks into lines, which end in ``\n``, ``\r\n`` or ``\r`` alone.

    The unfinished end of the last chunk is kept, up to `limit_bytes`. A longer line comes out in parts as it arrives,
    and its parts mean nothing to whoever reads lines. At the end of a chunk a ``\r`` is unfinished: ``\n`` may come.
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
        """The lines that `chunk` completes, their ends included."""
        lines: list[bytes] = []
        if b"\n" in chunk or b"\r" in chunk or (self._kept and self._kept[-1].endswith(b"\r")):
            lines = (self.rest() + chunk).splitlines(keepends=True)
            chunk = b"" if lines[-1].endswith(b"\n") else lines.pop()
        if chunk:
            self._kept.append(chunk)
            self._kept_bytes += len(chunk)
        if self._kept_bytes > self._limit_bytes:
            lines.append(self.rest())
        return lines

    def rest(self) -> bytes:
        """What is kept, given up."""
        kept = b"".join(self._kept)
        self._kept.clear()
        self._kept_bytes = 0
        return kept
