"""What the adapter counts about its own requests, for the process' `/metrics`."""

from collections.abc import Callable, Mapping

from adapter.server.connections import Closed
from infscale.telemetry.histogram import Histogram

DURATION_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0)
"""Upper bounds of the duration buckets in seconds; one more bucket takes what is slower."""


class AdapterStats:
    """Counts requests by kind of path and HTTP status. Keys are ours: nothing a client sends becomes one."""

    def __init__(self) -> None:
        self.closed = Closed()
        """Connections that were closed because of a limit."""
        self.connections: Callable[[], Mapping[str, int]] = dict
        """How many connections there are, by state; the server says so while it runs."""
        self._requests: dict[tuple[str, int], int] = {}
        self._durations: dict[str, Histogram] = {}

    def record(self, kind: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests[kind, status] = self._requests.get((kind, status), 0) + 1
        durations = self._durations.get(kind)
        if durations is None:
            durations = self._durations[kind] = Histogram(DURATION_BOUNDS)
        durations.observe(seconds)

    @property
    def requests(self) -> Mapping[tuple[str, int], int]:
        """Requests by kind and HTTP status, as they are now."""
        return dict(self._requests)

    @property
    def durations(self) -> Mapping[str, Histogram]:
        """Durations by kind, as they are now."""
        return dict(self._durations)
