"""A terminal that is drawn on: taken over for as long as a block runs, and given back as it was however that ends."""

import contextlib
import io
import os
import termios
import tty
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console, ConsoleDimensions
from rich.text import Text

from infscale.top.screen import Size

_ENTER: Final = b"\x1b[?1049h\x1b[?25l\x1b[2J"
"""The other screen, without a cursor."""
_LEAVE: Final = b"\x1b[?25h\x1b[0m\x1b[?1049l"
_USUAL: Final = Size(80, 24)
_READ_BYTES: Final = 1024


class Terminal:
    """The terminal of two descriptors, which keys come from and which is written to."""

    def __init__(self, keys: int, drawn: int) -> None:
        self.keys = keys
        self._drawn = drawn
        self._before: list[Any] | None = None
        # Which colours there are is as for everything that is printed; widths are ours.
        self._console = Console(file=io.StringIO(), force_terminal=True, highlight=False, markup=False)

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.give_back()

    def take(self) -> None:
        """Show another screen; keys come one by one and are not echoed, those that signal still do."""
        self._before = termios.tcgetattr(self.keys)
        try:
            tty.setcbreak(self.keys)
            self._write(_ENTER)
        except BaseException:
            self.give_back()
            raise

    def give_back(self) -> None:
        """Show the screen that was there, and read lines again; of a terminal that is gone nothing is left to do."""
        before, self._before = self._before, None
        if before is None:
            return
        with contextlib.suppress(OSError):
            self._write(_LEAVE)
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self.keys, termios.TCSADRAIN, before)

    @property
    def size(self) -> Size:
        """As it is now."""
        try:
            width, height = os.get_terminal_size(self._drawn)
        except OSError:
            return _USUAL
        return Size(width, height) if width and height else _USUAL

    def read(self) -> bytes:
        """What was typed; empty: the terminal is gone."""
        try:
            return os.read(self.keys, _READ_BYTES)
        except OSError:
            return b""

    def draw(self, lines: Sequence[Text], size: Size) -> None:
        """Draw the lines of a whole screen of `size`."""
        self._console.size = ConsoleDimensions(size.width + 1, size.height)
        written = "\x1b[K\r\n".join(map(self._styled, lines))
        self._write(b"\x1b[H" + written.encode(errors="replace") + b"\x1b[K\x1b[J")

    def _styled(self, line: Text) -> str:
        with self._console.capture() as captured:
            self._console.print(line, end="", no_wrap=True, crop=False, overflow="ignore")
        return captured.get()

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._drawn, data) :]
