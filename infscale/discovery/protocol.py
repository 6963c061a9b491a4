"""What every source of endpoints and inference objects looks like to its followers."""

from collections.abc import AsyncIterator
from typing import Protocol

from infscale.endpoint import DiscoveryState


class Discovery(Protocol):
    """A source of endpoints and inference objects."""

    def states(self) -> AsyncIterator[DiscoveryState]:
        """Whole states, the first at once and another whenever something changed; equal neighbours do not occur.

        The iterator runs until it is closed. Only the first step may raise `ConfigError`: a source that has given a
        state keeps it when what follows is unusable.
        """
        ...
