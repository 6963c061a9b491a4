"""A history out of Prometheus: what is asked, what its rows mean, and gaps that stay gaps."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from infscale.doctor.replay.controller_replay import replayed
from infscale.doctor.replay.past_syncs import PerPod, Total, Unknown
from infscale.doctor.replay.prometheus_history import REPLICAS, Period, asked_history, history_of, period, queries
from infscale.doctor.replay.replayed_hpa import ReplayedHpa
from infscale.errors import ConfigError
from infscale.prometheus.api_answer import RangeRow
from infscale.prometheus.prometheus_server import PrometheusServer
from infscale.prometheus.server_settings import ServerSettings
from tests.doctor.replay.replay_hpas import external, hpa, of_pool, pods
from tests.prometheus.real_prometheus import Scraped, prometheus

MINUTE = Period(1000, 1030, 15.0)


def row(values: Mapping[float, float], **labels: str) -> RangeRow:
    return RangeRow(labels, values)


def test_values_are_at_their_step_and_gaps_are_unknown() -> None:
    found = history_of(
        hpa(pods("load", "4"), external("jobs", "1")),
        {
            "load": [row({1000: 1.5, 1030: 2}, pod="a"), row({1000: 3}, pod="b")],
            "jobs": [row({1015: 4}, queue="x"), row({1015: 5}, queue="y")],
            REPLICAS: [row({1000: 2, 1015: 3})],
        },
        MINUTE,
    )
    assert [each.at for each in found] == [1000.0, 1015.0, 1030.0]
    assert [each.replicas for each in found] == [2, 3, None]
    loads, jobs = ([each.metrics[name] for each in found] for name in ("load", "jobs"))
    assert (loads[0], loads[2]) == (PerPod({"a": 1500, "b": 3000}), PerPod({"a": 2000}))
    assert isinstance(loads[1], Unknown)
    assert jobs[1] == Total((4000, 5000))
    assert isinstance(jobs[0], Unknown)


def test_one_series_without_a_pod_is_the_total_of_all_pods() -> None:
    found = history_of(hpa(pods("load", "4")), {"load": [row({1000: 8})], REPLICAS: [row({1000: 2})]}, MINUTE)
    assert found[0].metrics["load"] == Total((8000,))
    (first, *_) = replayed(hpa(pods("load", "4")), found, 2)
    assert "load 4 per pod / target 4" in first.explanation


@pytest.mark.parametrize("value", [1e300, -1e300])
def test_what_no_quantity_can_hold_is_unknown(value: float) -> None:
    found = history_of(hpa(external("load", "4")), {"load": [row({1000: value})]}, MINUTE)
    assert isinstance(found[0].metrics["load"], Unknown)


@pytest.mark.parametrize(
    ("found", "rows", "words"),
    [
        (hpa(pods("load", "4")), [row({}, pod="a"), row({}, pod="a", le="1")], "one series of each pod"),
        (hpa(pods("load", "4")), [row({}), row({}, x="1")], "one series of each pod"),
        (hpa(of_pool("load", "4")), [row({}, x="0"), row({}, x="1")], "2 series, expected one of the object"),
    ],
)
def test_rows_that_cannot_be_told_apart_are_refused(found: ReplayedHpa, rows: list[RangeRow], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        history_of(found, {"load": rows}, MINUTE)


def test_several_series_of_replicas_are_refused() -> None:
    with pytest.raises(ConfigError, match="--query replicas: 2 series"):
        history_of(hpa(pods("load", "4")), {REPLICAS: [row({}), row({}, x="1")]}, MINUTE)


def test_queries_are_known_of_pools_and_asked_for_of_others() -> None:
    assert queries(hpa(of_pool("waiting_requests", "4")), {}) == {
        "waiting_requests": 'max(sum by (instance) (infscale_pool_waiting_requests{pool="llm/chat"}))',
        REPLICAS: 'max(kube_horizontalpodautoscaler_status_current_replicas{namespace="llm", '
        'horizontalpodautoscaler="vllm"})',
    }
    latency = queries(hpa(of_pool("queue_latency_p90_seconds", "4")), {})["queue_latency_p90_seconds"]
    assert latency == 'max(infscale_pool_queue_latency_p90_seconds{pool="llm/chat"})', "the worst of its models"
    given = {"load": "sum(x)", REPLICAS: "count(up)"}
    assert queries(hpa(pods("load", "4")), given) == given
    with pytest.raises(ConfigError, match="give --query load=PROMQL"):
        queries(hpa(pods("load", "4")), {})
    with pytest.raises(ConfigError, match="no metric 'laod'; expected one of replicas, load"):
        queries(hpa(pods("load", "4")), {"load": "x", "laod": "x"})


def test_a_period_has_as_many_steps_as_prometheus_answers() -> None:
    assert period(2000.9, 100.0, 15.0) == Period(1900, 2000, 15.0)
    for since, step in ((1e9, 15.0), (10.0, 15.0)):
        with pytest.raises(ConfigError, match="--since, --step: expected 1 to"):
            period(2000.0, since, step)


@asynccontextmanager
async def exporting(levels: dict[str, float]) -> AsyncGenerator[str, None]:
    """A page with the load of each pod, and the replicas; gives its address."""

    async def page(request: web.BaseRequest) -> web.Response:
        del request
        loads = [f'load{{pod="{pod}"}} {value}\n' for pod, value in levels.items()]
        return web.Response(text=f"{''.join(loads)}replicas {len(levels)}\n")

    runner = web.ServerRunner(web.Server(page, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.prometheus
@pytest.mark.timeout(40)
async def test_a_real_prometheus_is_asked_for_a_range(tmp_path: Path) -> None:
    """Each pod's values, a pod that goes, and no value at all from before the first scrape."""
    levels = {"a": 6.0, "b": 2.5}
    async with exporting(levels) as address, prometheus(tmp_path, [Scraped(address, {})]) as server:
        await server.has("load", 2)
        del levels["b"]
        # A series that is not on the page any more ends with the next scrape.
        async with asyncio.timeout(15):
            while len(await server.query("load")) == 2:
                await asyncio.sleep(0.2)
        found = hpa(pods("load", "4"))
        asked = period(datetime.now(UTC).timestamp() + 1, 30.0, 1.0)
        async with PrometheusServer(ServerSettings("main", server.url)) as ours:
            syncs = await asked_history(ours, found, queries(found, {"load": "load", REPLICAS: "replicas"}), asked)
    values = [each.metrics["load"] for each in syncs]
    assert isinstance(values[0], Unknown)
    assert syncs[0].replicas is None
    assert PerPod({"a": 6000, "b": 2500}) in values
    assert values[-1] == PerPod({"a": 6000})
    assert [each.at for each in syncs] == [float(asked.begin + number) for number in range(31)]
