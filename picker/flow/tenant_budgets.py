"""Budgets of tenants in GPU time: which tenants have had more than theirs, and for how long they have to wait.

A tenant may have so many GPU-seconds in each second on average. What it does not take it saves up, for
`SAVED_SECONDS` at most. What it had is what the bill says, with what its requests in flight are expected to have yet,
so that those that are let go at the same moment see each other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

SAVED_SECONDS: Final = 10.0
"""What a tenant may save up: that of so much time."""
_LONGEST_LOOK_SECONDS: Final = 1.0
_SHORTEST_LOOK_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class TenantBudget:
    """GPU-seconds in each second, or with `of_pool` a share, 0–1, of the GPUs that are ready in the pool."""

    amount: float
    of_pool: bool = False

    def __post_init__(self) -> None:
        if not self.amount > 0 or (self.of_pool and self.amount > 1):
            raise ValueError("budgets are above 0, and shares at most 1")

    def rate(self, gpus: float) -> float:
        """GPU-seconds per second in a pool of so many GPUs."""
        return self.amount * gpus if self.of_pool else self.amount


class _Credit:
    """GPU-seconds that a tenant may have now, `at` a time at which it had been charged `charged`."""

    __slots__ = ("at", "charged", "seconds")

    def __init__(self) -> None:
        self.at: float | None = None
        self.charged = 0.0
        self.seconds = 0.0


class TenantBudgets:
    """Owner of the credits of one pool's tenants; call it from one thread only, with times that do not go back.

    `charged` says what a tenant was charged since start, `gpus` how many GPUs are ready in the pool.
    """

    def __init__(
        self, budgets: Mapping[str, TenantBudget], charged: Callable[[str], float], gpus: Callable[[], float]
    ) -> None:
        self._budgets = dict(budgets)
        self._charged = charged
        self._gpus = gpus
        self._credits = {tenant: _Credit() for tenant in budgets}

    def __len__(self) -> int:
        return len(self._budgets)

    def __contains__(self, tenant: str) -> bool:
        return tenant in self._budgets

    @property
    def tenants(self) -> list[str]:
        """Those that have a budget."""
        return list(self._budgets)

    def credit_seconds(self, tenant: str, now: float) -> float:
        """GPU-seconds that a tenant with a budget may have now; it is over its budget where that is not above 0."""
        credit, charged = self._credits[tenant], self._charged(tenant)
        rate = self._budgets[tenant].rate(self._gpus())
        most = rate * SAVED_SECONDS
        if credit.at is None:
            credit.seconds = most - charged
        else:
            saved = min(most, credit.seconds + rate * max(0.0, now - credit.at))
            credit.seconds = min(most, saved - (charged - credit.charged))
        credit.at = now if credit.at is None else max(now, credit.at)
        credit.charged = charged
        return credit.seconds

    def over(self, tenant: str, now: float) -> bool:
        """Whether a tenant has had more than its budget; one that has none never has."""
        return tenant in self._budgets and self.credit_seconds(tenant, now) <= 0.0

    def wait_seconds(self, tenant: str, now: float) -> float:
        """How long it takes until a tenant is within its budget, if it has nothing meanwhile; 0: it is."""
        if tenant not in self._budgets:
            return 0.0
        credit, rate = self.credit_seconds(tenant, now), self._budgets[tenant].rate(self._gpus())
        if credit > 0.0:
            return 0.0
        return -credit / rate if rate > 0.0 else float("inf")

    def look_seconds(self, tenant: str, now: float) -> float:
        """When it is worth looking at a tenant again that is over its budget: what it is charged changes, too."""
        return min(max(self.wait_seconds(tenant, now), _SHORTEST_LOOK_SECONDS), _LONGEST_LOOK_SECONDS)
