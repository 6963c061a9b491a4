"""Which version a session has: drawn from its name, and kept."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from xxhash import xxh3_64_intdigest

MAX_SESSIONS: Final = 100_000

_OLD: Final = 1
_NEW: Final = 2
_COUNTED_OLD: Final = 4
_COUNTED_NEW: Final = 8


def salt_of(rollout: str, revision: str) -> int:
    """What makes the draws of one rollout say nothing of those of another."""
    return xxh3_64_intdigest(f"{len(rollout)}:{rollout}{revision}".encode("utf-8", "surrogatepass"))


def draw(salt: int, name: bytes) -> float:
    """A number from [0, 1) by which a session or request gets a version: below the weight it is the new one.

    It is the same in every replica and at every weight, so that raising the weight moves names one way only.
    """
    return (xxh3_64_intdigest(name, seed=salt) >> 11) * 2.0**-53


class RolloutSessions:
    """The versions of the sessions of one rollout, by the digests of their names; a bounded memory.

    At most `limit` sessions are remembered, the one unused for longest goes first; one that is forgotten is drawn
    again, with the same result unless the weight has passed its draw.
    """

    def __init__(self, limit: int = MAX_SESSIONS) -> None:
        self._limit = limit
        self._known: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def is_new(self, session: int, decided: Callable[[], bool], *, stays: bool) -> bool:
        """Whether the session has the new version: as before where it `stays`, else as `decided` says now."""
        flags = self._known.get(session, 0)
        new = bool(flags & _NEW) if stays and flags & (_OLD | _NEW) else decided()
        self._keep(session, flags & ~(_OLD | _NEW) | (_NEW if new else _OLD))
        return new

    def pass_over(self, session: int) -> None:
        """A session that had no draw, because there was none: it does not count for the old version."""
        self._keep(session, self._known.get(session, 0) | _COUNTED_OLD)

    def counts(self, session: int, *, new: bool) -> bool:
        """Whether a result of the session counts for this version; each session does once for each."""
        flags, counted = self._known.get(session, 0), _COUNTED_NEW if new else _COUNTED_OLD
        if flags & counted:
            return False
        self._keep(session, flags | counted)
        return True

    def _keep(self, session: int, flags: int) -> None:
        self._known[session] = flags
        self._known.move_to_end(session)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
