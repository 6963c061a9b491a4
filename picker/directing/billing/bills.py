"""The bills of all pools, and when their accounts are settled."""

from collections.abc import Collection
from typing import Final

from infscale.endpoint import DiscoveryState, EndpointKey, ObjectKey
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.billing.billed_request import BilledRequest, Ending
from picker.directing.billing.endpoint_account import MOST_CLOSING
from picker.directing.billing.pool_bill import PoolBill
from picker.flow.tenants import FAIRNESS_HEADERS
from picker.request import Decision, Headers, InferenceRequest, Outcome

SETTLE_SECONDS: Final = 1.0
"""How long an account goes unsettled at least, unless very much ends there."""
_ENDING_OF: Final[dict[str, Ending]] = {
    "completed": "used",
    "aborted": "aborted",
    "error": "failed",
    "evicted": "evicted",
}


class Bills:
    """Owner of the bills; call it from one thread only. Times are monotonic seconds.

    Accounts are settled one at each observation of the store, those of endpoints that come, go or change at once: that
    of many at a time would hold up what waits for the event loop. `known` are tenants that have rows of their own,
    whichever others there are.
    """

    def __init__(self, store: MetricStore, known: Collection[str] = ()) -> None:
        self._store = store
        self._known = tuple(known)
        self._bills: dict[ObjectKey, PoolBill] = {}
        self._turns: list[tuple[ObjectKey, EndpointKey]] = []
        self._turn = 0

    def sync(self, state: DiscoveryState, now: float) -> None:
        """Follow discovery, which the store knows already; a pool that goes and comes back starts anew."""
        bills: dict[ObjectKey, PoolBill] = {}
        for pool in state.pools:
            bill = self._bills.get(pool.key)
            bills[pool.key] = PoolBill(self._store.gpus, self._known, now) if bill is None else bill
        self._bills = bills
        self._follow(now, whole=False)
        self._turns = [(pool, key) for pool, bill in bills.items() for key in bill.accounts]

    def settle(self, now: float) -> None:
        """Have everything up to `now` in the sums."""
        self._follow(now, whole=True)

    def _follow(self, now: float, *, whole: bool) -> None:
        for pool, bill in self._bills.items():
            snapshot = self._store.snapshot(pool)
            if snapshot is not None:
                bill.follow(snapshot, now, whole=whole)

    def observed(self, now: float) -> None:
        """The store has observed something: settle the next account, where its time has come."""
        if not self._turns:
            return
        self._turn = (self._turn + 1) % len(self._turns)
        pool, key = self._turns[self._turn]
        account = self._bills[pool].accounts.get(key)
        if account is not None and now - account.settled_at >= SETTLE_SECONDS:
            self._settle(pool, key, now)

    def by_pool(self) -> dict[ObjectKey, PoolBill]:
        """The bills by their pools."""
        return self._bills

    def bill(self, pool: ObjectKey) -> PoolBill | None:
        """The bill of one pool."""
        return self._bills.get(pool)

    # --- requests -----------------------------------------------------------------------------------------------------

    def began(self, request: InferenceRequest, decision: Decision, now: float) -> None:
        """A request goes where `decision` says."""
        charge, body = decision.charge, request.body
        bill = None if charge is None else self._bills.get(charge.pool)
        if charge is None or bill is None or body is None:
            return
        prompt = float(body.prompt_tokens)
        cost = decision.cost
        billed = BilledRequest(
            charge.number,
            _tenant(request.headers),
            charge.model,
            decision.priority,
            max(1.0, prompt * (1.0 - (decision.prefix_hit_ratio or 0.0))),
            # The second half of what was charged beyond the prompt: an answer grows.
            prompt + (0.0 if cost is None else 0.5 * cost.output_tokens),
            body.generates,
            0.0 if cost is None else cost.seconds,
            now,
        )
        bill.began(charge.endpoint, billed, now)

    def started(self, before: Decision, decision: Decision, now: float) -> None:
        """The response headers of `before` have come, which is `decision` now."""
        charge, moved = before.charge, decision.charge
        bill = None if charge is None else self._bills.get(charge.pool)
        if charge is None or moved is None or bill is None:
            return
        if moved is charge:
            bill.answered(charge.number, now)
        else:
            bill.moved(charge.number, moved.endpoint, moved.number, now)

    def ended(self, decision: Decision, outcome: Outcome, now: float) -> None:
        """The exchange of `decision` is over."""
        charge = decision.charge
        bill = None if charge is None else self._bills.get(charge.pool)
        if charge is None or bill is None:
            return
        refused = outcome.status is not None and not 200 <= outcome.status < 300
        ending = _ENDING_OF[outcome.kind]
        if refused and ending == "used":
            ending = "failed"
        computed = None
        if outcome.prompt_tokens is not None and outcome.cached_tokens is not None:
            computed = float(max(1, outcome.prompt_tokens - outcome.cached_tokens))
        bill.ended(charge.number, ending, computed, now, refused=refused)
        account = bill.accounts.get(charge.endpoint)
        if account is not None and len(account.closing) >= MOST_CLOSING:
            self._settle(charge.pool, charge.endpoint, now)

    def _settle(self, pool: ObjectKey, key: EndpointKey, now: float) -> None:
        snapshot = self._store.snapshot(pool)
        if snapshot is not None:
            self._bills[pool].settle(key, snapshot, now)


def _tenant(headers: Headers) -> str:
    for name in FAIRNESS_HEADERS:
        tenant = headers.get(name)
        if tenant:
            return tenant
    return ""
