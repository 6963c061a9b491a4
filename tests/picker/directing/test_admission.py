"""Who is shed, and which HTTP form a refusal has."""

import pytest

from infscale.endpoint import Objective, ObjectKey, Phase, Pool
from picker.directing.admission import Priorities, admit, pool_saturation
from picker.directing.director_books import DirectorSettings
from picker.request import STATUS_OF_CODE, Headers
from tests.fakes.pools import POOL, FakePool
from tests.reference_tables import TABLES

BUSY = FakePool(2, waiting=[6, 5], kv=[0.1, 0.1])
SERVING = DirectorSettings(retry_after_seconds=1.5)
REFUSING = DirectorSettings(retry_after_seconds=1.5, unknown_load="refuse")
HALF = FakePool(2, waiting=[6, 3], kv=[0.1, 0.1])


@pytest.mark.parametrize(
    ("pool", "now", "expected"),
    [
        pytest.param(HALF, 0.0, 0.9, id="mean of the endpoints"),
        pytest.param(FakePool(2, waiting=[6, 1], kv=[0.8, 0.8]), 0.0, 1.1, id="the larger signal counts"),
        pytest.param(FakePool(2, waiting=[5, 1], observed_at=[5, 0]), 5.0, 1.0, id="stale counts as the highest fresh"),
        pytest.param(FakePool(3, waiting=[5, 1, 1], observed_at=[5, 0, 0]), 5.0, None, id="below half coverage"),
        pytest.param(HALF, 100.0, None, id="all stale"),
        pytest.param(FakePool(2, waiting=[5, 1], phases=[Phase.READY, Phase.DRAINING]), 0.0, 1.0, id="only ready ones"),
        pytest.param(FakePool(1, phases=[Phase.STARTING]), 0.0, None, id="none ready"),
    ],
)
def test_the_pools_saturation_is_what_is_known_of_it(pool: FakePool, now: float, expected: float | None) -> None:
    assert pool_saturation(pool.snapshot(), now) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("priority", "pool", "now", "settings", "shed"),
    [
        pytest.param(0, BUSY, 0.0, SERVING, False, id="standard requests are never shed"),
        pytest.param(-1, BUSY, 0.0, SERVING, True, id="sheddable while saturated"),
        pytest.param(-1, HALF, 0.0, SERVING, False, id="sheddable with room"),
        pytest.param(-1, HALF, 100.0, SERVING, False, id="sheddable in doubt where unknown load is served"),
        pytest.param(-1, HALF, 100.0, REFUSING, True, id="sheddable in doubt where it is refused"),
    ],
)
def test_only_sheddable_requests_are_shed(
    priority: int, pool: FakePool, now: float, settings: DirectorSettings, shed: bool
) -> None:
    answer = admit(priority, pool.snapshot(), now, settings)
    if not shed:
        assert answer is None
        return
    assert answer is not None
    assert (answer.status, answer.code, answer.dropped_reason) == (429, "ResourceExhausted", "rejected-saturated")
    assert answer.message == "system saturated, sheddable request dropped"
    assert answer.retry_after_seconds == 1.5


OBJECTIVES = [
    Objective(ObjectKey("default", "batch"), -5, "pool"),
    Objective(ObjectKey("default", "urgent"), 9, "pool"),
    Objective(ObjectKey("default", "both"), 9, "pool"),
    Objective(ObjectKey("another", "elsewhere"), 7, "pool"),
    Objective(ObjectKey("default", "other-pool"), 7, "another"),
    Objective(ObjectKey("default", "sheddable"), -1, "pool", "llama"),
    Objective(ObjectKey("default", "both"), -1, "pool", "mistral"),
    Objective(ObjectKey("default", "of-another"), -1, "another", "of-another-pool"),
]
OURS, THEIRS = "x-llm-d-inference-objective", "x-gateway-inference-objective"
BOTH = frozenset((OURS, THEIRS))


def priority(named: dict[str, str], model: str, trusted: frozenset[str], unknown: int | None = None) -> int:
    own = Priorities.of(OBJECTIVES, Pool(POOL, {}), trusted, unknown)
    return own.priority(Headers(tuple((name, value.encode()) for name, value in named.items())), model)


@pytest.mark.parametrize(
    ("named", "model", "expected"),
    [
        pytest.param({}, "llama", -1, id="its model's"),
        pytest.param({}, "qwen", 0, id="no class of its model"),
        pytest.param({}, "of-another-pool", 0, id="a class of another pool"),
        pytest.param({}, "", 0, id="no model"),
        pytest.param({OURS: "batch"}, "any", -5, id="an objective"),
        pytest.param({THEIRS: "batch"}, "any", -5, id="by the other header"),
        pytest.param({"unrelated": "batch"}, "any", 0, id="another header"),
        pytest.param({OURS: ""}, "llama", -1, id="an empty header"),
        pytest.param({OURS: "urgent"}, "llama", 9, id="the header wins over the model"),
        pytest.param({OURS: "urgent", THEIRS: "batch"}, "any", 9, id="the first header wins"),
        pytest.param({OURS: "sheddable"}, "qwen", -1, id="an InferenceModel named as objective"),
        pytest.param({OURS: "both"}, "qwen", 9, id="an objective of the same name wins"),
        pytest.param({OURS: "unknown"}, "llama", -5, id="an unknown objective is worth least"),
        pytest.param({OURS: "elsewhere"}, "any", -5, id="so is one of another namespace"),
        pytest.param({OURS: "other-pool"}, "any", -5, id="and one of another pool"),
    ],
)
def test_what_the_gateway_names_is_the_priority(named: dict[str, str], model: str, expected: int) -> None:
    assert priority(named, model, BOTH) == expected


@pytest.mark.parametrize(
    ("named", "model", "expected"),
    [
        pytest.param({OURS: "urgent"}, "llama", -1, id="not more than its model has"),
        pytest.param({OURS: "urgent"}, "qwen", 0, id="not more than none has"),
        pytest.param({OURS: "batch"}, "qwen", -5, id="less"),
        pytest.param({OURS: "unknown"}, "qwen", -5, id="unknown"),
        pytest.param({OURS: "urgent", THEIRS: "batch"}, "qwen", -5, id="the least of both"),
    ],
)
def test_a_client_can_only_lower_its_priority(named: dict[str, str], model: str, expected: int) -> None:
    assert priority(named, model, frozenset()) == expected


def test_a_client_does_not_undo_what_the_gateway_names() -> None:
    named = {OURS: "urgent", THEIRS: "batch"}
    assert priority(named, "llama", frozenset([THEIRS])) == -5
    assert priority({OURS: "batch", THEIRS: "urgent"}, "llama", frozenset([THEIRS])) == -5
    assert priority({THEIRS: "urgent"}, "llama", frozenset([THEIRS])) == 9


def test_an_unknown_objective_is_sheddable_where_there_is_none_at_all() -> None:
    unknown = Headers(((OURS, b"unknown"),))
    assert Priorities({}).priority(unknown, "any") == -1
    assert Priorities({"urgent": 9}).priority(unknown, "any") == -1


def test_the_reference_takes_an_unknown_objective_for_none() -> None:
    assert priority({OURS: "unknown"}, "llama", BOTH, unknown=0) == 0


@pytest.mark.parametrize(
    ("code", "status"), [each for each in TABLES["error_code_to_http"].items() if each[0] != "<untyped>"]
)
def test_codes_have_their_status(code: str, status: int) -> None:
    assert STATUS_OF_CODE[code] == status
