"""A terminal is given back as it was, however what ran on it ends."""

import os
import pty
import termios
from collections.abc import Iterator

import pytest
from rich.text import Text

from infscale.top.screen import Size
from infscale.top.terminal import Terminal


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    yield master, slave
    for end in (master, slave):
        os.close(end)


def read_until(master: int, end: bytes) -> bytes:
    written = b""
    while not written.endswith(end):
        written += os.read(master, 4096)
    return written


def test_it_is_given_back_after_a_crash(ends: tuple[int, int]) -> None:
    master, slave = ends
    before = termios.tcgetattr(slave)
    with pytest.raises(ZeroDivisionError), Terminal(slave, slave) as terminal:  # noqa: PT012 # what is raised in it
        assert termios.tcgetattr(slave) != before
        terminal.draw([Text("one"), Text("two")], Size(80, 24))
        raise ZeroDivisionError
    assert termios.tcgetattr(slave) == before
    written = read_until(master, b"\x1b[?1049l")
    assert written.startswith(b"\x1b[?1049h")
    assert b"\x1b[Hone\x1b[K\r" in written
    assert b"\ntwo\x1b[K\x1b[J" in written


def test_keys_come_one_by_one_and_are_not_echoed(ends: tuple[int, int]) -> None:
    master, slave = ends
    with Terminal(slave, slave) as terminal:
        os.read(master, 4096)
        os.write(master, b"j")
        assert terminal.read() == b"j"
        flags = termios.tcgetattr(slave)[3]
        assert not flags & (termios.ECHO | termios.ICANON)
        # Ctrl-C and Ctrl-Z stay signals.
        assert flags & termios.ISIG


def test_its_size_is_the_usual_one_where_it_has_none(ends: tuple[int, int]) -> None:
    _, slave = ends
    assert Terminal(slave, slave).size == Size(80, 24)
    termios.tcsetwinsize(slave, (50, 132))
    assert Terminal(slave, slave).size == Size(132, 50)


def test_a_terminal_that_is_gone_types_nothing() -> None:
    master, slave = pty.openpty()
    os.close(master)
    assert Terminal(slave, slave).read() == b""
    os.close(slave)
