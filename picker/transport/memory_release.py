"""Gives memory back to the system after it was full of bodies."""

import contextlib
import ctypes
from typing import Final

_MANY_BYTES: Final = 16 << 20


class MemoryReturn:
    """Notices when much was held and little of it is left: the C library keeps what lies between pieces otherwise."""

    def __init__(self) -> None:
        self._most_bytes = 0

    def look(self, held_bytes: int) -> None:
        """To be asked again and again; it takes some milliseconds where there is something to give back."""
        self._most_bytes = max(self._most_bytes, held_bytes)
        if self._most_bytes >= _MANY_BYTES and held_bytes < self._most_bytes // 4:
            self._most_bytes = held_bytes
            with contextlib.suppress(OSError, AttributeError):
                # The GNU C library alone has it.
                ctypes.CDLL(None).malloc_trim(0)
