"""What some tenants had of a pool, and are expected to have yet of what is in flight for them."""

from collections.abc import Collection


class _Spent:
    """GPU-seconds: `had` in all, `running` of these by requests in flight, which are `expected` to have so many."""

    __slots__ = ("expected", "had", "requests", "running")

    def __init__(self) -> None:
        self.had = 0.0
        self.running = 0.0
        self.expected = 0.0
        self.requests = 0


class Spending:
    """Owner of what `tenants` had; others are not followed."""

    def __init__(self, tenants: Collection[str]) -> None:
        self._tenants = {name: _Spent() for name in tenants}

    def expects(self, tenant: str, gpu_seconds: float) -> None:
        """A request in flight is expected to have so many more; less, where it has moved away."""
        spent = self._tenants.get(tenant)
        if spent is not None:
            spent.expected += gpu_seconds

    def had(self, tenant: str, gpu_seconds: float) -> None:
        """A request in flight had so many."""
        spent = self._tenants.get(tenant)
        if spent is not None:
            spent.had += gpu_seconds
            spent.running += gpu_seconds

    def ended(self, tenant: str, expected: float, had: float) -> None:
        """A request that was `expected` to have so many has ended and `had` so many."""
        spent = self._tenants.get(tenant)
        if spent is not None:
            spent.expected -= expected
            spent.running -= had

    def charged(self, tenant: str) -> float:
        """What a tenant had since start, with what its requests in flight are expected to have yet."""
        spent = self._tenants.get(tenant)
        return 0.0 if spent is None else spent.had + max(0.0, spent.expected - spent.running)
