"""The series of the bill add up whenever they are asked for, also while accounts are not settled."""

from prometheus_client.core import Metric

from infscale.endpoint import Phase
from picker.request import Outcome
from picker.telemetry.bill_metrics import BillCollector
from tests.picker.directing.billing.billed_pool import BilledPool


def values(families: dict[str, Metric], name: str) -> list[float]:
    return [sample.value for sample in families[f"infscale_bill_{name}"].samples]


def test_series_add_up_and_are_those_of_accounts_as_they_were_settled() -> None:
    pool = BilledPool({0: 2})
    pool.has({0: Phase.READY})
    collector = BillCollector(pool.bills)
    for outcome in (Outcome("completed", 200), Outcome("evicted"), None):
        sent = pool.ask("a")
        assert sent is not None
        pool.passes(1.5)
        if outcome is not None:
            pool.ends(sent, outcome)
        pool.bills.settle(pool.now)
        families = {family.name: family for family in collector.collect()}
        (seconds,) = values(families, "pool_gpu_seconds")
        parts = [
            sum(values(families, name))
            for name in ("gpu_seconds", "idle_gpu_seconds", "recomputed_gpu_seconds", "running_gpu_seconds")
        ]
        assert abs(sum(parts) - seconds) < 1e-6
        assert abs(seconds - pool.counted) < 1e-6
    labels = [sample.labels for sample in families["infscale_bill_gpu_seconds"].samples]
    assert labels == [
        {"pool": "default/pool", "tenant": "a", "model": "", "adapter": "", "priority": "0", "kind": kind}
        for kind in ("used", "evicted")
    ]
