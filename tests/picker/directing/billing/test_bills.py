"""Whose request had what: tenants, adapters, endings, endpoints that come and go, and GPUs."""

from dataclasses import replace

import pytest

from infscale.endpoint import DiscoveryState, EndpointKey, Phase, Pool
from infscale.metrics.sample import LoraState, ModelLoad
from infscale.metrics.store.described_engine import GPUS_LABEL
from picker.directing.billing.bill_document import asked_seconds, bill_document
from picker.directing.billing.bill_rows import MOST_ROWS, MOST_TENANTS, OTHER, UNNAMED, BillRows
from picker.directing.billing.billed_request import BilledRequest
from picker.directing.billing.endpoint_account import MOST_CLOSING, EndpointAccount, EndpointView
from picker.directing.billing.minutes import KEPT_MINUTES, Minutes, cell
from picker.directing.billing.time_shares import StepCost
from picker.request import Outcome
from tests.fakes.pools import POOL, endpoint
from tests.fakes.samples import engine_sample
from tests.picker.directing.billing.billed_pool import BilledPool, billed

EVICTED, ABORTED = Outcome("evicted"), Outcome("aborted")
COST = StepCost(0.01, 1e-4, 0.0, 0.0)


def one(gpus: int = 1, **more: object) -> BilledPool:
    """A pool of one ready endpoint."""
    pool = BilledPool({0: gpus}, **more)  # type: ignore[arg-type]
    pool.has({0: Phase.READY})
    return pool


def test_a_tenant_has_the_time_in_which_its_request_was_there_and_nothing_else_was() -> None:
    pool = one(gpus=2)
    pool.passes(3.0)
    sent = pool.ask("a")
    assert sent is not None
    pool.passes(4.0)
    pool.ends(sent)
    pool.passes(1.0)
    bill = pool.bill
    assert (bill.seconds, bill.idle) == (16.0, 8.0)
    assert pool.booked("a") == pytest.approx(8.0)


def test_equal_requests_of_two_tenants_have_half_each() -> None:
    pool = one()
    asked = [pool.ask("a"), pool.ask("b"), pool.ask()]
    pool.passes(3.0)
    for sent in asked:
        assert sent is not None
        pool.ends(sent)
    assert [pool.booked(name) for name in ("a", "b", UNNAMED)] == pytest.approx([1.0, 1.0, 1.0], rel=5e-3)


@pytest.mark.parametrize(
    ("outcome", "ending"),
    [
        (Outcome("completed", 200), "used"),
        (Outcome("completed"), "used"),
        (EVICTED, "evicted"),
        (ABORTED, "aborted"),
        (Outcome("aborted", 200), "aborted"),
        (Outcome("error"), "failed"),
        (Outcome("completed", 503), "failed"),
    ],
)
def test_what_became_of_a_request_is_what_became_of_its_gpu_seconds(outcome: Outcome, ending: str) -> None:
    pool = one()
    sent = pool.ask("a")
    assert sent is not None
    pool.passes(2.0)
    assert pool.bill.running == pytest.approx(2.0), "that is not known before its end"
    pool.passes(1.0)
    pool.ends(sent, outcome)
    assert pool.booked("a", ending) == pytest.approx(3.0)
    assert pool.bill.running == pytest.approx(0.0)


def test_a_refusal_costs_next_to_nothing_beside_others() -> None:
    pool = one()
    refused, other = pool.ask("a"), pool.ask("b")
    assert refused is not None
    assert other is not None
    pool.passes(1.0)
    pool.ends(refused, Outcome("completed", 400))
    pool.ends(other)
    assert (pool.booked("a", "failed"), pool.booked("b")) == (0.0, pytest.approx(1.0))


def test_an_endpoint_that_drains_counts_as_long_as_it_works() -> None:
    pool = one()
    sent = pool.ask("a")
    assert sent is not None
    pool.passes(1.0)
    pool.has({0: Phase.DRAINING})
    pool.passes(2.0)
    pool.ends(sent)
    pool.passes(5.0)
    bill = pool.bill
    assert (bill.seconds, bill.idle, bill.ready_gpus) == (pytest.approx(3.0), pytest.approx(0.0), 0)
    assert pool.booked("a") == pytest.approx(3.0)


def test_a_request_whose_endpoint_left_keeps_what_it_had() -> None:
    pool = one()
    sent = pool.ask("a")
    assert sent is not None
    pool.passes(2.0)
    pool.has({1: Phase.READY})
    pool.passes(3.0)
    assert pool.bill.running == pytest.approx(2.0)
    pool.ends(sent, Outcome("error"))
    assert pool.booked("a", "failed") == pytest.approx(2.0)
    assert billed(pool.bill) == pytest.approx(pool.counted)


def test_a_request_is_billed_where_it_was_answered() -> None:
    pool = BilledPool({0: 1, 1: 1})
    pool.has({0: Phase.READY, 1: Phase.READY})
    sent = pool.ask("a")
    assert sent is not None
    charge = sent.decision.charge
    assert charge is not None
    other = 1 if charge.endpoint.name == "pod-0" else 0
    pool.passes(0.5)
    pool.answers(sent, endpoint(other).authority)
    pool.passes(2.0)
    pool.ends(sent)
    account = pool.bill.accounts[endpoint(other).key]
    assert not account.open
    assert pool.booked("a") == pytest.approx(2.0, abs=0.01)


def test_gpus_are_those_of_labels_and_one_where_nothing_is_known() -> None:
    pool = BilledPool({0: 4})
    pool.has({0: Phase.READY, 1: Phase.READY, 2: Phase.STARTING})
    pool.passes(1.0)
    bill = pool.bill
    assert (bill.seconds, bill.ready_gpus, bill.unknown_gpus) == (5.0, 5, 2)


def test_data_parallel_ranks_share_the_gpus_of_their_pod() -> None:
    pool = BilledPool()
    pod = endpoint(0, {GPUS_LABEL: "8"})
    ranks = tuple(replace(pod, key=EndpointKey(*pod.key.pod, rank), port=8000 + rank) for rank in range(4))
    state = DiscoveryState(ranks, (Pool(POOL, {}),))
    pool.store.sync(state)
    pool.bills.sync(state, pool.now)
    pool.now += 1.0
    assert pool.bill.seconds == pytest.approx(8.0)


def test_an_adapter_is_billed_beside_the_model_of_its_page() -> None:
    pool = one()
    page = engine_sample(0.0, 1.0, 0.0, {"base": ModelLoad(0.0, 1.0)}, LoraState(frozenset({"tuned"}), frozenset(), 4))
    pool.store.record_scrape(endpoint(0).key, page, pool.now)
    sent = pool.ask("a", model="tuned")
    assert sent is not None
    pool.passes(1.0)
    pool.ends(sent)
    (row,) = [row for row in pool.bill.rows.all if row.booked]
    assert row.key == ("a", "base", "tuned", 0)


def test_names_of_models_that_no_endpoint_serves_make_no_rows() -> None:
    pool = one()
    for number in range(20):
        sent = pool.ask("a", model=f"made-up-{number}")
        assert sent is not None
        pool.passes(0.1)
        pool.ends(sent)
    assert len(pool.bill.rows.all) == 2


def test_rows_are_bounded_and_known_tenants_have_theirs() -> None:
    rows = BillRows(["late"])
    for number in range(2 * MOST_TENANTS):
        rows.place(f"t{number}", "m", "", 0)
    assert len(rows.all) == MOST_TENANTS + 2, "one of others, and the first of all"
    assert rows.all[rows.place("late", "m", "", 0)].key.tenant == "late"
    assert rows.all[rows.place("t1", "m", "", 0)].key.tenant == "t1"
    assert rows.all[rows.place("t9999", "m", "", 0)].key.tenant == OTHER
    assert rows.all[rows.place("x" * 129, "m", "", 0)].key.tenant == OTHER
    for number in range(2 * MOST_ROWS):
        rows.place("late", "m", "", number)
    assert len(rows.all) == MOST_ROWS
    assert rows.place("late", "m", "", 10**6) == 0


def test_minutes_are_kept_for_a_day_and_endings_moved_in_those_that_are() -> None:
    minutes = Minutes()
    for minute in range(2 * KEPT_MINUTES):
        minutes.of(minute).add(cell(1, "used"), 2.0)
        minutes.of(minute).counted += 2.0
    assert len(minutes) == KEPT_MINUTES
    last = 2 * KEPT_MINUTES - 1
    minutes.ended([(0, 2.0), (last, 1.5)], 1, "evicted")
    found = minutes.since(last)
    assert (found.of(1, "used"), found.of(1, "evicted"), found.counted) == (0.5, 1.5, 2.0)
    assert minutes.since(0).counted == 2.0 * KEPT_MINUTES


def test_what_has_waited_in_its_engine_has_not_paid_for_what_ran() -> None:
    """Of three that were sent, the page says that the last two wait."""
    view = EndpointView(ready=True, gpus=1, cost=COST, waiting=2.0, runs=True, observed_at=0.5)
    account = EndpointAccount(0.0, view)
    for number in range(3):
        account.began(BilledRequest(number, "", "m", 0, 10.0, 10.0, True, 0.0, 0.1 * number), 0.1 * number)
    shares = account.settle(1.0, view).shares
    assert [seconds for _, seconds in shares] == pytest.approx([1.0, 0.0, 0.0])


def test_an_endpoint_whose_pages_say_that_nothing_runs_is_idle_although_a_request_hangs() -> None:
    account = EndpointAccount(0.0, EndpointView(ready=True, gpus=1, cost=COST))
    account.began(BilledRequest(1, "", "m", 0, 10.0, 10.0, True, 0.0, 0.0), 0.0)
    worked = [
        account.settle(at, EndpointView(ready=True, gpus=1, cost=COST, waiting=0.0, runs=False, observed_at=at)).idle
        for at in (1.0, 2.0, 3.0)
    ]
    assert worked == [0.0, 1.0, 1.0], "one page may have been read before its request came"


def test_what_engines_computed_again_is_of_no_tenant() -> None:
    view = EndpointView(ready=True, gpus=1, cost=COST, preemptions_per_second=0.5)
    account = EndpointAccount(0.0, view)
    account.began(BilledRequest(1, "", "m", 0, 1.0, 1_000.0, True, 0.0, 0.0), 0.0)
    settled = account.settle(10.0, view)
    # Five times a thousand tokens of a tenth of a millisecond.
    assert settled.recomputed == pytest.approx(0.5)
    assert settled.shares[0][1] == pytest.approx(9.5)


def test_what_ends_in_crowds_is_settled_at_once() -> None:
    pool = one()
    asked = [pool.ask("a") for _ in range(MOST_CLOSING + 10)]
    pool.passes(0.1)
    for sent in asked:
        assert sent is not None
        pool.ends(sent)
    found = pool.bills.bill(POOL)
    assert found is not None
    (account,) = found.accounts.values()
    assert len(account.closing) < MOST_CLOSING


def test_a_document_has_whole_minutes_and_adds_up() -> None:
    pool = one()
    for tenant in ("a", "b"):
        sent = pool.ask(tenant)
        assert sent is not None
        pool.passes(100.0)
        pool.ends(sent, EVICTED if tenant == "b" else None)
        pool.scrape()
    assert pool.bill.seconds == 200.0
    document = bill_document(pool.bills.by_pool(), 60, pool.now, lambda _: None)
    assert isinstance(document, dict)
    (told,) = document["pools"]
    # At 1,200 s the last minute is that from 1,140 on; what had it before was still there then.
    assert told["gpu_seconds"] == pytest.approx(sum(row["used"] + row["evicted"] for row in told["rows"]))
    assert {row["tenant"] for row in told["rows"]} == {"b"}
    assert (told["start"], told["ready_gpus"], told["endpoints_counted_as_one_gpu"]) == (None, 1, 0)


@pytest.mark.parametrize(
    ("name", "seconds"), [("3600", 3600), ("86400", 86400), ("86401", None), ("0", None), ("1h", None), ("", None)]
)
def test_documents_are_asked_for_by_seconds(name: str, seconds: int | None) -> None:
    assert asked_seconds(name) == seconds


def test_what_comes_or_goes_settles_no_account_but_its_own() -> None:
    pool = BilledPool()
    pool.has(dict.fromkeys(range(3), Phase.READY))
    bill = pool.bills.bill(POOL)
    assert bill is not None
    began = pool.now
    pool.passes(0.5)
    pool.has({0: Phase.READY, 1: Phase.DRAINING, 3: Phase.READY})
    settled = {key.name: account.settled_at for key, account in bill.accounts.items()}
    assert settled == {"pod-0": began, "pod-1": pool.now, "pod-3": pool.now}
    # Of the one that has left, and of that which drains.
    assert bill.seconds == pytest.approx(1.0)
    assert pool.bill.seconds == pytest.approx(pool.counted)
