"""Calls that may never come back: each is made in a thread of its own, and given up after a time."""

import asyncio
import contextlib
from _thread import start_new_thread
from collections.abc import Callable
from typing import Final, TypeVar

from infscale.errors import InfscaleError

T = TypeVar("T")

_NO_ANSWER: Final = "does not answer"


class Hanging(InfscaleError):
    """A call was not over in time, or the one before it still is not."""


class TimelyCalls:
    """Makes calls that have `limit_seconds` each; guards the names of those that are not over.

    While a call is not over no other of its name is made, so that there are no more threads than names. A thread that
    hangs in a driver cannot be ended; it does not keep the process from ending.
    """

    def __init__(self, what: str, limit_seconds: float) -> None:
        self._what = what
        self._limit = limit_seconds
        self._open: set[str] = set()

    async def result(self, name: str, call: Callable[[], T]) -> T:
        """What `call` gives, or the error that it raises. Raises `Hanging`."""
        if name in self._open:
            raise Hanging(f"{self._what} {_NO_ANSWER}")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def over(give: Callable[[], None]) -> None:
            self._open.discard(name)
            if not done.done():
                give()

        def work() -> None:
            give: Callable[[], None]
            try:
                result = call()
                give = lambda: done.set_result(result)  # noqa: E731 # one of two, chosen by how the call ended
            except Exception as raised:
                error = raised
                give = lambda: done.set_exception(error)  # noqa: E731
            with contextlib.suppress(RuntimeError):  # the loop is over
                loop.call_soon_threadsafe(over, give)

        self._open.add(name)
        # Not a Thread: starting one waits for it, and the interpreter waits for the executor's at its end.
        start_new_thread(work, ())
        try:
            async with asyncio.timeout(self._limit):
                return await done
        except TimeoutError:
            raise Hanging(f"{self._what} {_NO_ANSWER} within {self._limit:g} s") from None

    @property
    def hanging(self) -> int:
        """How many calls are not over."""
        return len(self._open)
