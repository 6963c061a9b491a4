"""Answers remembered for a while, and questions that are asked once however many want to know."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class ExpiringCache(Generic[KeyT, ValueT]):
    """At most `capacity` values, each until a second of its own; the one not asked for longest goes first."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a cache holds at least one value")
        self._capacity = capacity
        self._kept: OrderedDict[KeyT, tuple[ValueT, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: KeyT, now: float) -> ValueT | None:
        """The value of `key`, None if there is none that is good at second `now`."""
        found = self._kept.get(key)
        if found is None:
            return None
        if now >= found[1]:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: KeyT, value: ValueT, until: float) -> None:
        """Keep `value` until just before second `until`."""
        self._kept[key] = (value, until)
        self._kept.move_to_end(key)
        if len(self._kept) > self._capacity:
            self._kept.popitem(last=False)


class SharedAnswers(Generic[KeyT, ValueT]):
    """Answers kept for `lifetime_seconds`; a caller with a question that is being asked waits for its answer.

    Errors reach every caller that waited, and are forgotten.
    """

    def __init__(self, capacity: int, lifetime_seconds: float, clock: Callable[[], float]) -> None:
        self._cache = ExpiringCache[KeyT, ValueT](capacity)
        self._lifetime_seconds = lifetime_seconds
        self._clock = clock
        self._asking: dict[KeyT, asyncio.Future[ValueT]] = {}

    async def get(self, key: KeyT, ask: Callable[[], Awaitable[ValueT]], *, keep: bool = True) -> ValueT:
        """The answer to `key`: a remembered one, else that of `ask`, whose errors come out as they are.

        `keep` says whether it is worth remembering.
        """
        while True:
            known = self._cache.get(key, self._clock())
            if known is not None:
                return known
            asking = self._asking.get(key)
            if asking is None:
                return await self._asked(key, ask, keep)
            await asyncio.wait([asking])
            # The call that was asking may have been cancelled: then the next one asks.
            if not asking.cancelled():
                return asking.result()

    async def _asked(self, key: KeyT, ask: Callable[[], Awaitable[ValueT]], keep: bool) -> ValueT:
        asking = self._asking[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await ask()
        except Exception as error:
            asking.set_exception(error)
            # Taken note of, in case no other caller waits.
            asking.exception()
            raise
        else:
            if keep:
                self._cache.put(key, answer, self._clock() + self._lifetime_seconds)
            asking.set_result(answer)
            return answer
        finally:
            del self._asking[key]
            asking.cancel()
            # Its error refers to this call.
            del asking
