"""`infscale top` while it runs: asks, takes keys, draws."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final

from infscale.process.tasks import running
from infscale.top.asking_serve import NoAnswer, ServeClient
from infscale.top.keys import keys_of
from infscale.top.navigation import State, pressed
from infscale.top.screen import Contact, screen
from infscale.top.terminal import Terminal
from infscale.viewing.document_parts import DocumentError
from infscale.viewing.grid import Page, arranged, path_to
from infscale.viewing.seen_documents import Documents, Seen, seen
from infscale.viewing.views import view_page

_ESCAPE_SECONDS: Final = 0.05
"""How long an escape waits for the rest of a key."""
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class _Heard:
    """What the process said last, and how asking it goes."""

    address: str
    seen: Seen | None = None
    at: float | None = None
    failing_since: float | None = None
    problem: str = ""

    def contact(self, now: float) -> Contact:
        age = None if self.at is None else max(0.0, now - self.at)
        failing = None if self.failing_since is None else max(0.0, now - self.failing_since)
        return Contact(self.address, age, failing, self.problem)


class Live:
    """Shows what `client` is told on `terminal`, asked every `interval` seconds, until a key or a signal ends it."""

    def __init__(self, client: ServeClient, address: str, terminal: Terminal, interval: float) -> None:
        self._client = client
        self._terminal = terminal
        self._interval = interval
        self._heard = _Heard(address)
        self._state = State()
        self._pending = b""
        self._signalled = 0
        self._changed = asyncio.Event()
        self._asked_now = asyncio.Event()

    async def run(self) -> int:
        """The exit status: 0, or that of the signal that ended it."""
        with self._listening():
            async with running(self._ask()):
                while not self._state.ended:
                    self._changed.clear()
                    self._draw()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), self._interval)
        return 128 + self._signalled if self._signalled else 0

    @contextlib.contextmanager
    def _listening(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGWINCH: self._changed.set,
            signal.SIGTSTP: self._stop,
            **{number: self._ender(number) for number in _ENDING},
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        loop.add_reader(self._terminal.keys, self._typed)
        try:
            yield
        finally:
            loop.remove_reader(self._terminal.keys)
            for number in handlers:
                loop.remove_signal_handler(number)

    def _ender(self, number: signal.Signals) -> Callable[[], None]:
        def end() -> None:
            self._signalled = number
            self._end()

        return end

    def _end(self) -> None:
        self._state = State(self._state.places, ended=True)
        self._changed.set()

    def _stop(self) -> None:
        """Ctrl-Z: the terminal is given back for as long as the process is stopped."""
        self._terminal.give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._terminal.take()
        self._changed.set()

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._asked_now.clear()
            heard = self._heard
            try:
                heard.seen = seen(await self._documents())
                heard.at, heard.failing_since = loop.time(), None
            except (NoAnswer, DocumentError) as error:
                heard.problem = str(error)
                if heard.failing_since is None:
                    heard.failing_since = loop.time()
            self._changed.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked_now.wait(), self._interval)

    async def _documents(self) -> Documents:
        state = self._state
        return await self._client.documents(picks=state.looks_at_picks, pick=state.here.view.pick)

    def _typed(self) -> None:
        read = self._terminal.read()
        if not read:
            self._end()
            return
        self._take(read)
        if self._pending:
            asyncio.get_running_loop().call_later(_ESCAPE_SECONDS, self._waited, self._pending)

    def _waited(self, pending: bytes) -> None:
        """Nothing more came after `pending`: an escape alone is a key."""
        if self._pending == pending:
            self._take(b"", waited=True)

    def _take(self, read: bytes, *, waited: bool = False) -> None:
        keys, self._pending = keys_of(self._pending + read, waited=waited)
        looked, pick = self._state.looks_at_picks, self._state.here.view.pick
        lines = self._terminal.size.body
        for key in keys:
            here = self._state.here
            made = arranged(self._page(), here.sorting, here.wanted)
            self._state = pressed(self._state, key, made, lines)
        if (self._state.looks_at_picks and not looked) or self._state.here.view.pick not in ("", pick):
            self._asked_now.set()
        self._changed.set()

    def _page(self) -> Page:
        view = self._state.here.view
        if self._heard.seen is None:
            return Page(path_to(view), (), ())
        return view_page(self._heard.seen, view)

    def _draw(self) -> None:
        size, now = self._terminal.size, asyncio.get_running_loop().time()
        # A terminal that is gone says so to what reads its keys.
        with contextlib.suppress(OSError):
            self._terminal.draw(screen(self._state, self._page(), self._heard.contact(now), size), size)
