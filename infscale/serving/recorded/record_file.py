"""The file that requests are recorded in, and the one before it; `infscale.recording` says what is in them."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from infscale.config.record_settings import RecordSettings
from infscale.recording.recorded_request import PrefixDigests, RecordedRequest, header_line
from infscale.serving.recorded.file_ring import FileRing

_SECRET_BYTES: Final = 32


class RecordFile:
    """The file and the one before it, each with a secret of its own; used by one thread at a time.

    `clock` is that of requests. What was there before becomes the file before.
    """

    def __init__(self, settings: RecordSettings, clock: Callable[[], float]) -> None:
        self._ring = FileRing(settings.file, settings.max_bytes)
        self._clock = clock
        self._began = 0.0
        self.digests = PrefixDigests(b"")
        """What makes digests for the file as it is now."""

    def begin(self) -> None:
        """Begin a new file. Raises OSError."""
        self._ring.begin(header_line(datetime.now(UTC).isoformat(timespec="milliseconds")))
        self._began = self._clock()
        self.digests = PrefixDigests(secrets.token_bytes(_SECRET_BYTES))

    def write(self, requests: Sequence[RecordedRequest]) -> None:
        """Append `requests`, in new files where one is full. Raises OSError, after which some may have been written."""
        lines = bytearray()
        for request in requests:
            line = replace(request, at_seconds=request.at_seconds - self._began).line()
            if self._ring.full(len(lines) + len(line)):
                self._ring.append(bytes(lines))
                lines.clear()
                self.begin()
                line = replace(request, at_seconds=request.at_seconds - self._began).line()
            lines += line
        if lines:
            self._ring.append(bytes(lines))
