"""The headline: picker and adapter mean the same endpoints when they say "saturated", whatever the snapshot."""

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.answering.responder import Responder
from adapter.answering.store_provider import StoreProvider
from adapter.api.documents import Clock, constant_documents
from adapter.api.paths import parse
from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Phase, Pool
from infscale.metrics.saturation import SaturationKind, SaturationSettings
from infscale.metrics.snapshot import PoolSettings, PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from infscale.quantity import parse_quantity
from picker.directing.director_books import DirectorSettings
from picker.request import Headers
from picker.scheduling.filters.eligibility import SaturationFilter
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import PrefixMatch, RequestFacts, SchedulingContext
from tests.e2e.gateway import Gateway, gateway
from tests.fakes.samples import engine_sample
from tests.sim.simulated import MODEL, quick_settings

POOL = ObjectKey("llm", "chat")
NOW = 1000.0
PATH = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/{}/pods/*/saturation_ratio"

kinds = st.builds(
    SaturationSettings,
    kind=st.sampled_from(SaturationKind),
    queue_depth_threshold=st.floats(0.1, 20),
    kv_utilization_threshold=st.floats(0.01, 1),
    max_in_flight_requests=st.floats(0.5, 5),
    max_in_flight_tokens=st.floats(1, 1000),
)
endpoints = st.tuples(
    st.one_of(st.none(), st.floats(0, 40)),
    st.one_of(st.none(), st.floats(0, 1)),
    st.one_of(st.none(), st.floats(0, 5)),
    st.sampled_from(Phase),
    st.lists(st.integers(0, 600), max_size=6),
)


def filled(
    saturation: SaturationSettings,
    members: list[tuple[float | None, float | None, float | None, Phase, list[int]]],
) -> MetricStore:
    """A store with one idle endpoint (no list is empty) and `members`: waiting, KV, age, phase, dispatched tokens."""
    store = MetricStore("s")
    store.configure(POOL, PoolSettings(saturation=saturation))
    members = [(0.0, 0.0, 0.0, Phase.READY, []), *members]
    found = tuple(
        Endpoint(EndpointKey("llm", f"pod-{row}"), f"10.0.0.{row + 1}", 8000, {}, phase)
        for row, (*_, phase, _) in enumerate(members)
    )
    store.sync(DiscoveryState(found, (Pool(POOL, {}),)))
    store.configure(POOL, PoolSettings(saturation=saturation))
    for row, (waiting, kv, age, _, charges) in enumerate(members):
        for tokens in charges:
            store.charge(POOL, row, "m", tokens, NOW - 6)
        if age is None:
            store.record_failure(found[row].key, "timed out", NOW)
        else:
            store.record_scrape(found[row].key, engine_sample(waiting, None, kv), NOW - age)
    return store


def picker_says(snapshot: PoolSnapshot, now: float) -> set[str]:
    """The pods the picker's filter finds saturated among those it may pick from."""
    rows = snapshot.eligible(now).nonzero()[0]
    facts = RequestFacts("m", Headers(()), 1.0, 1.0)
    prefix = PrefixMatch(np.zeros(len(snapshot)), 0.0)
    context = SchedulingContext(facts, snapshot, prefix, now, random.Random(1), PoolMemory())
    kept = SaturationFilter().unsaturated(context, rows)
    return {snapshot.endpoints[row].key.name for row in set(rows.tolist()) - set(kept.tolist())}


def adapter_says(document: Mapping[str, object]) -> set[str]:
    """The pods whose published saturation is at least 1."""
    items: list[dict[str, dict[str, str]]] = document["items"]  # type: ignore[assignment]
    return {str(item["describedObject"]["name"]) for item in items if parse_quantity(str(item["value"])) >= 1}


@settings(max_examples=200)
@given(kinds, st.lists(endpoints, max_size=10))
def test_both_deciders_see_the_same_saturated_endpoints(
    saturation: SaturationSettings,
    members: list[tuple[float | None, float | None, float | None, Phase, list[int]]],
) -> None:
    store = filled(saturation, members)
    snapshot = store.snapshot(POOL)
    assert snapshot is not None
    responder = Responder(StoreProvider(store), constant_documents((), "0"))
    reply = responder.answer(parse("GET", PATH.format("llm")), Clock(NOW, datetime.now(UTC)))
    assert reply.code == 200
    document = orjson.loads(reply.body)
    assert document["metadata"]["resourceVersion"] == snapshot.revision
    assert adapter_says(document) == picker_says(snapshot, NOW)


class Recorder:
    """Every snapshot that was read from a store, by revision."""

    def __init__(self, store: MetricStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: dict[str, PoolSnapshot] = {}
        one, all_pools = store.snapshot, store.snapshots

        def snapshot(pool: ObjectKey) -> PoolSnapshot | None:
            found = one(pool)
            if found is not None:
                self.read[found.revision] = found
            return found

        def snapshots() -> tuple[PoolSnapshot, ...]:
            self.read.update({found.revision: found for found in all_pools()})
            return all_pools()

        monkeypatch.setattr(store, "snapshot", snapshot)
        monkeypatch.setattr(store, "snapshots", snapshots)


@pytest.mark.envoy
@pytest.mark.timeout(60)
async def test_during_load_both_answer_from_revisions_of_one_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = [quick_settings(f"sim-{number}", {"max_num_seqs": 2}) for number in range(3)]
    # The load is more than this process can take at once, and pages come late.
    async with gateway(tmp_path, servers, staleness_limit_seconds=10.0) as running:
        recorder = Recorder(running.serving.store, monkeypatch)
        director = running.serving.directors.director(running.snapshot.pool)
        assert director is not None
        answers = await asked_under_load(running)
        picks = list(director.records)
    assert len(picks) == min(LOAD, DirectorSettings().records)
    for pick in picks:
        seen = recorder.read[pick.revision]
        assert seen.eligible(pick.now)[seen.state.index[pick.destinations[0]]]
    saturated: set[str] = set()
    for before, document, after in answers:
        revision = str(document["metadata"]["resourceVersion"])  # type: ignore[index]
        assert number(before) <= number(revision) <= number(after)
        seen = recorder.read[revision]
        fresh_at = float(seen.columns.observed_at.max())
        assert adapter_says(document) == picker_says(seen, fresh_at)
        saturated |= adapter_says(document)
    assert saturated, "the load never saturated a server: the comparison had nothing to compare"


LOAD = 600


def number(revision: str) -> int:
    """The number of a revision."""
    return int(revision.rpartition(".")[2])


async def asked_under_load(running: Gateway) -> list[tuple[str, dict[str, object], str]]:
    """Ask the adapter again and again while requests pass through Envoy; revisions before and after each answer."""
    answers: list[tuple[str, dict[str, object], str]] = []

    async def send(request: int) -> None:
        body = {"model": MODEL, "prompt": f"{request} " * 200, "max_tokens": 24}
        async with running.session.post(f"{running.url}/v1/completions", json=body) as response:
            assert response.status == 200, await response.text()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(send(request)) for request in range(LOAD)]
        while not all(task.done() for task in tasks):
            before = running.snapshot.revision
            code, document = await running.metric(PATH.format("default"))
            assert code == 200
            answers.append((before, document, running.snapshot.revision))
            await asyncio.sleep(0.05)
    return answers
