"""What a connection to a server of metrics pages is asked for, whichever HTTP it speaks."""

from dataclasses import dataclass
from typing import Protocol

from infscale.scrape.answer import Page, Room


class Stale(Exception):
    """Nothing came: the server had closed the connection, as it may between two pages."""


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """How pages of one server are asked for: its host as URLs write it, and credentials ("": none).

    Pages are at most `limit_bytes` long once decompressed, and share `room` with others while they come in.
    """

    host: str
    authorization: str
    limit_bytes: int
    room: Room


class Connection(Protocol):
    """One connection, for one page at a time."""

    @property
    def idle(self) -> bool:
        """Whether a page may be asked for."""
        ...

    async def get(self, target: str) -> Page:
        """The page at `target`. Raises FetchError, or `Stale` where the connection ends before anything came."""
        ...

    def abort(self) -> None:
        """End it."""
        ...
