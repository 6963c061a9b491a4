"""The bill adds up: parts, minutes and tenants, in any order of requests, ends, aborts, evictions and pool changes."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from infscale.endpoint import Phase
from picker.directing.billing.minutes import minute_of
from picker.epp_config.loader import preset
from picker.request import Outcome
from tests.fakes.pools import endpoint
from tests.picker.directing.billing.billed_pool import BilledPool, billed

ENDS = (
    Outcome("completed", 200),
    Outcome("completed", 200, prompt_tokens=90, completion_tokens=5, cached_tokens=16),
    Outcome("aborted", 200),
    Outcome("aborted"),
    Outcome("evicted"),
    Outcome("error", 503),
    Outcome("completed", 404),
)
TENANTS = ("", "a", "b", "x" * 500)
GPUS = {0: 2, 1: 4}


class BillLaws(RuleBasedStateMachine):
    """Endpoint 0 has two GPUs and 1 four; of the others it is not known."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = BilledPool(GPUS)

    @initialize(name=st.sampled_from(["infscale", "reference"]))
    def begins(self, name: str) -> None:
        self.pool = BilledPool(GPUS, preset("reference" if name == "reference" else "infscale"))
        self.pool.has({0: Phase.READY, 1: Phase.READY})

    @rule(tenant=st.sampled_from(TENANTS), tokens=st.sampled_from([1, 100, 20_000]))
    def asks(self, tenant: str, tokens: int) -> None:
        self.pool.scrape()
        self.pool.ask(tenant, tokens)

    @precondition(lambda self: self.pool.open)
    @rule(place=st.integers(0, 100), outcome=st.sampled_from(ENDS))
    def ends(self, place: int, outcome: Outcome) -> None:
        self.pool.ends(self.pool.open[place % len(self.pool.open)], outcome)

    @precondition(lambda self: self.pool.open)
    @rule(place=st.integers(0, 100), served=st.one_of(st.none(), st.integers(0, 4)))
    def answers(self, place: int, served: int | None) -> None:
        sent = self.pool.open[place % len(self.pool.open)]
        self.pool.answers(sent, None if served is None else endpoint(served).authority)

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.3, 5.0, 70.0]))
    def passes(self, seconds: float) -> None:
        self.pool.passes(seconds)

    @rule()
    def scrapes(self) -> None:
        self.pool.scrape()

    @rule(phases=st.dictionaries(st.integers(0, 4), st.sampled_from(list(Phase)), max_size=4))
    def changes(self, phases: dict[int, Phase]) -> None:
        self.pool.has(phases)

    @invariant()
    def it_adds_up(self) -> None:
        bill = self.pool.bill
        assert billed(bill) == pytest.approx(bill.seconds, rel=1e-9, abs=1e-6)
        assert bill.seconds == pytest.approx(self.pool.counted, rel=1e-9, abs=1e-6)
        assert min(bill.idle, bill.running + 1e-9, bill.recomputed) >= 0.0

    def teardown(self) -> None:
        pool = self.pool
        for sent in list(pool.open):
            pool.ends(sent)
        bill = pool.bill
        assert bill.running == pytest.approx(0.0, abs=1e-9)
        assert not any(account.open or account.closing for account in bill.accounts.values())
        # So does every minute, whatever became later of what had it.
        assert bill.minutes.since(0).counted == pytest.approx(bill.seconds, rel=1e-9, abs=1e-6)
        for minute in range(minute_of(1_000.0), minute_of(pool.now) + 1):
            sums = bill.minutes.of(minute)
            assert sums.idle + sums.recomputed + sum(sums.cells.values()) == pytest.approx(sums.counted, abs=1e-6)
            assert all(seconds > -1e-9 for seconds in sums.cells.values())


TestBillLaws = pytest.mark.timeout(60)(BillLaws.TestCase)
TestBillLaws.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
