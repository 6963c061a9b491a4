"""What predicted times to the first token are worth, beside those that a simulated engine takes."""

import random
from dataclasses import replace

import numpy as np
import pytest

from infscale.endpoint import DiscoveryState, Pool
from infscale.latency.step_columns import StepColumns
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store.dispatch import Charge
from infscale.metrics.store.metrics_store import MetricStore
from infscale.sim.engine.steps import EngineRequest, EngineSettings, FinishedRequest
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import PrefixMatch, RequestFacts, SchedulingContext
from picker.scheduling.prediction import predict
from tests.fakes.pools import NO_HEADERS, POOL, endpoint
from tests.fakes.watched_engine import QWEN, Arrivals, WatchedEngine

ONE = np.array([0], dtype=np.intp)
BUSY, QUIET = 6.0, 1.0


class Predicted(WatchedEngine):
    """An engine with a store beside it; each request is predicted when it comes, with the model and without it.

    `errors` are relative, with the model first.
    """

    def __init__(self, seats: int) -> None:
        super().__init__(QWEN, Arrivals(BUSY), 5, EngineSettings(num_blocks=19_208, max_num_seqs=seats))
        self.store = MetricStore("test")
        self.store.sync(DiscoveryState((endpoint(0),), (Pool(POOL, {}),)))
        self.charges: dict[int, Charge] = {}
        self.predicted: dict[int, list[float]] = {}
        self.errors: list[tuple[float, ...]] = []

    def submitting(self, request: EngineRequest) -> None:
        snapshot = self.store.snapshot(POOL)
        assert snapshot is not None
        if snapshot.columns.steps.usable.all():
            self.predicted[request.id] = [self.predict(request, each) for each in (snapshot, without_models(snapshot))]
        self.charges[request.id] = self.store.charge(POOL, 0, "m", request.prompt_tokens + 200.0, self.now)
        # Busy and quiet in turns.
        self.rate = QUIET if int(self.now / 15.0) % 2 else BUSY

    def predict(self, request: EngineRequest, snapshot: PoolSnapshot) -> float:
        facts = RequestFacts("m", NO_HEADERS, float(request.prompt_tokens), 200.0)
        prefix = PrefixMatch(np.zeros(1), float(request.prompt_tokens))
        context = SchedulingContext(facts, snapshot, prefix, self.now, random.Random(1), PoolMemory())
        prediction = predict(context, ONE)
        assert prediction is not None
        return float(prediction.ttft[0])

    def finished(self, done: FinishedRequest) -> None:
        self.store.release(self.charges.pop(done.request.id), answered=True)
        predicted, seen = self.predicted.pop(done.request.id, []), done.first_token_at - done.arrived_at
        if predicted:
            self.errors.append(tuple(abs(each - seen) / seen for each in predicted))


def without_models(snapshot: PoolSnapshot) -> PoolSnapshot:
    columns = replace(snapshot.columns, steps=StepColumns.of([None], [0.0]))
    state = snapshot.state.observed(columns)
    requests, tokens = snapshot.in_flight_requests, snapshot.in_flight_tokens
    return PoolSnapshot(state, "test", 1, requests, tokens, snapshot.in_flight_by_model)


@pytest.mark.parametrize(("seats", "share"), [(256, 0.5), (32, 0.85)], ids=["seats for all", "waits for seats"])
def test_first_tokens_are_predicted_better_with_a_model_of_steps(seats: int, share: float) -> None:
    engine = Predicted(seats)
    for tick in range(1, 900):
        engine.run_until(0.2 * tick)
        engine.store.record_scrape(endpoint(0).key, engine.sample(), engine.now)
    with_model, without = np.array(engine.errors).T
    assert len(with_model) > 300
    assert np.median(with_model) < share * np.median(without)
    assert np.quantile(with_model, 0.9) < share * np.quantile(without, 0.9)
    assert np.median(with_model) < 0.33
