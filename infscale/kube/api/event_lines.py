"""Lines of a stream that arrives in pieces."""

MAX_LINE_BYTES = 64 * 1024 * 1024
"""No object of an API server comes near this: etcd refuses objects of some MiB."""


class Lines:
    """Puts lines together; guards the piece of the last one that is not complete yet."""

    def __init__(self, limit_bytes: int = MAX_LINE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends. Raises `ValueError` where one is too long."""
        *complete, rest = data.split(b"\n")
        if complete:
            complete[0] = b"".join([*self._pieces, complete[0]])
            self._pieces.clear()
            self._size = 0
        self._pieces.append(rest)
        self._size += len(rest)
        if self._size > self._limit_bytes:
            raise ValueError(f"a line is longer than {self._limit_bytes} bytes")
        return complete
