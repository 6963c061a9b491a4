"""What the adapter counts about its own requests, for the process' `/metrics`."""

from collections import Counter, defaultdict
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
        self.requests: Counter[tuple[str, int]] = Counter()
        """Requests by kind and HTTP status."""
        self.durations: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(DURATION_BOUNDS))
        """Durations by kind."""

    def record(self, kind: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self.requests[kind, status] += 1
        self.durations[kind].observe(seconds)
