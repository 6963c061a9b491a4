"""The file that requests are recorded in, and the one before it; `infscale.recording` says what is in them."""

import contextlib
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from infscale.config.record_settings import RecordSettings
from infscale.recording.recorded_request import PrefixDigests, RecordedRequest, header_line

_SECRET_BYTES: Final = 32
_OWNER_ONLY: Final = 0o600


class RecordFile:
    """The file and the one before it, each with a secret of its own; used by one thread at a time.

    `clock` is that of requests. What was there before becomes the file before.
    """

    def __init__(self, settings: RecordSettings, clock: Callable[[], float]) -> None:
        self._path = settings.file
        self._most_bytes = settings.max_bytes // 2
        self._clock = clock
        self._size = 0
        self._began = 0.0
        self.digests = PrefixDigests(b"")
        """What makes digests for the file as it is now."""

    def begin(self) -> None:
        """Begin a new file. Raises OSError."""
        before = self._path.with_name(f"{self._path.name}.1")
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(before)
        header = header_line(datetime.now(UTC).isoformat(timespec="milliseconds"))
        self._append(header, os.O_TRUNC)
        self._began, self._size = self._clock(), len(header)
        self.digests = PrefixDigests(secrets.token_bytes(_SECRET_BYTES))

    def write(self, requests: Sequence[RecordedRequest]) -> None:
        """Append `requests`, in new files where one is full. Raises OSError, after which some may have been written."""
        lines: list[bytes] = []
        for request in requests:
            line = replace(request, at_seconds=request.at_seconds - self._began).line()
            if self._size + len(line) > self._most_bytes:
                self._append(b"".join(lines))
                lines.clear()
                self.begin()
                line = replace(request, at_seconds=request.at_seconds - self._began).line()
            lines.append(line)
            self._size += len(line)
        if lines:
            self._append(b"".join(lines))

    def _append(self, data: bytes, flags: int = 0) -> None:
        # Opened each time: a file that was moved or removed meanwhile is made anew.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | flags, _OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
