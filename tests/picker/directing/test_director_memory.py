"""What the director remembers from one request to the next, and whom it sheds by chance."""

from dataclasses import replace

import pytest

from infscale.endpoint import DiscoveryState, Objective, ObjectKey
from picker.directing.director_books import DirectorSettings
from picker.request import InferenceRequest, Outcome
from tests.fakes.pools import headers
from tests.picker.directing.test_director import PROMPT, Bench, ask, done

HEAD = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
# Endpoint 0 looks best to the scorer whatever it answers.
ERRORS = HEAD + "plugins: [{type: error-memory-filter, parameters: {failures: 2}}, {type: queue-scorer}]\n"


def seeing(*media: int, seed: int = 0) -> InferenceRequest:
    """A request with these images and a prompt of its own."""
    request = ask(bytes([seed]) * 400)
    assert request.body is not None
    return replace(request, body=replace(request.body, media=media))


def failing(bench: Bench, outcome: Outcome) -> bool:
    """Whether endpoint 0 is left out after two exchanges with that outcome."""
    bench.scrape(bench.state.endpoints[1], waiting=3.0)
    for _ in range(2):
        decision = bench.routed(ask())
        assert decision.destinations[0] == bench.authority(0)
        bench.director.finished(ask(), decision, outcome, 0.2)
    return bench.routed(ask(), 0.3).destinations[0] == bench.authority(1)


@pytest.mark.parametrize(
    ("outcome", "out"),
    [
        pytest.param(done(503), True, id="5xx"),
        pytest.param(Outcome("aborted", 500), True, id="5xx, then the client left"),
        pytest.param(done(200), False, id="answered"),
        pytest.param(done(429), False, id="a 4xx is an answer"),
        pytest.param(Outcome("aborted"), False, id="the client left"),
        pytest.param(Outcome("error"), False, id="the gateway's stream broke"),
        pytest.param(done(None), False, id="status not seen"),
        pytest.param(done(200, served="10.0.0.2:8000"), True, id="the gateway went on to the next"),
        pytest.param(done(200, served="192.0.2.1:1"), False, id="the gateway names somebody unknown"),
    ],
)
def test_who_fails_is_left_out(outcome: Outcome, out: bool) -> None:
    assert failing(Bench(2, ERRORS), outcome) is out


def test_failures_are_forgotten_with_time() -> None:
    bench = Bench(2, ERRORS)
    assert failing(bench, done(500))
    for row, waiting in ((0, 0.0), (1, 3.0)):
        bench.scrape(bench.state.endpoints[row], at=11.0, waiting=waiting)
    assert bench.routed(ask(), 11.0).destinations[0] == bench.authority(0)


def test_cold_requests_take_turns_and_warm_ones_do_not_count() -> None:
    bench = Bench(3, HEAD + "plugins: [{type: no-hit-lru-scorer}]\n")
    cold = [bench.routed(ask(bytes([number]) * 4096)).destinations[0] for number in range(4)]
    assert cold == [bench.authority(row) for row in (0, 1, 2, 0)]
    bench.routed(ask(bytes([3]) * 4096))
    assert bench.routed(ask(PROMPT)).destinations[0] == bench.authority(1)


@pytest.mark.parametrize("plugins", ["[{type: mm-embeddings-cache-scorer}]", "[{type: queue-scorer}]"])
def test_a_request_goes_where_its_images_were_encoded(plugins: str) -> None:
    bench = Bench(4, f"{HEAD}plugins: {plugins}\n")
    first = bench.routed(seeing(1, 2)).destinations
    wanted = {bench.routed(seeing(2, 3, seed=seed)).destinations for seed in range(20)}
    assert (wanted == {first}) is ("mm-embeddings" in plugins)


def test_only_so_many_images_are_remembered() -> None:
    producer = "{type: mm-embeddings-cache-producer, parameters: {cacheSizeInMBPerServer: 4}}"
    config = f"{HEAD}plugins: [{{type: mm-embeddings-cache-scorer}}, {producer}]\n"
    bench = Bench(4, config, DirectorSettings(emit_scores=True))
    (first,) = bench.routed(seeing(1, 2, 3)).destinations
    # Two fit, so that the first image is forgotten.
    assert bench.routed(seeing(2, 3)).scores[first] == 1.0
    assert set(bench.routed(seeing(1)).scores.values()) == {0.0}


def test_sheddable_requests_may_be_shed_before_the_pool_is_full() -> None:
    bench = Bench(1, HEAD + "plugins: [{type: probabilistic-admitter}]\n")
    batch = Objective(ObjectKey("default", "batch"), -1, "pool")
    bench.sync(DiscoveryState(bench.state.endpoints, (bench.pool,), (batch,)))
    bench.scrape(bench.state.endpoints[0], waiting=2.0)
    answer = bench.refused(ask(given=headers(x_llm_d_inference_objective="batch")))
    assert (answer.status, answer.dropped_reason, answer.retry_after_seconds) == (429, "rejected-saturated", 1.0)
    bench.routed(ask())
