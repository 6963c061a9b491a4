"""Screening by rollout revision: which version of a disaggregated deployment serves a request."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.endpoint import Endpoint, EndpointKey, Phase
from infscale.labels import Selector
from picker.request import Headers
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import RequestFacts, SchedulingContext
from picker.scheduling.rollout import Gate, HeaderSelector, RolloutScreener, Weighing, chance, drawn
from tests.fakes.pools import NO_HEADERS, FakePool, context, endpoint, headers

REVISION, ROLE, SLICE = (f"disaggregatedset.x-k8s.io/{name}" for name in ("revision", "role", "slice"))
BY_REVISION = HeaderSelector("x-revision", REVISION)
BY_SLICE = HeaderSelector("x-slice", SLICE)


def labelled(revision: str | None, role: str | None, place: str | None = None) -> dict[str, str]:
    given = {REVISION: revision, ROLE: role, "set": "s", SLICE: place}
    return {key: value for key, value in given.items() if value is not None}


def gate(weighing: Weighing = "sum", *roles: str, scope: str = "set=s") -> Gate:
    return Gate(Selector.parse(scope), roles or ("prefill", "decode"), weighing)


def pods(*counts: tuple[str, int, int]) -> list[dict[str, str]]:
    """The labels of so many prefill and decode pods of each revision."""
    return [
        labelled(revision, role)
        for revision, prefill, decode in counts
        for role, count in (("prefill", prefill), ("decode", decode))
        for _ in range(count)
    ]


def endpoints(labels: Sequence[dict[str, str]]) -> tuple[Endpoint, ...]:
    return tuple(endpoint(row, each) for row, each in enumerate(labels))


# Weights

SHAPES = [
    ("sum", [("a", 2, 9), ("b", 1, 1)], {"a": 11, "b": 2}),
    ("max-role", [("a", 2, 9), ("b", 1, 1)], {"a": 9, "b": 1}),
    ("sum", [("a", 2, 8), ("b", 0, 2)], {"a": 10}),
    ("max-role", [("a", 1, 6), ("b", 1, 4)], {"a": 6, "b": 4}),
    # The incomplete revision's many prefill pods do not make theirs the role that counts.
    ("max-role", [("a", 1, 2), ("b", 9, 0)], {"a": 2}),
    # As many of either role: the first of the list counts.
    ("max-role", [("a", 3, 1), ("b", 1, 3)], {"a": 3, "b": 1}),
    ("sum", [("a", 0, 9), ("b", 9, 0)], {}),
]


@pytest.mark.parametrize(("weighing", "counts", "weights"), SHAPES)
def test_complete_revisions_are_weighed_by_their_pods(
    weighing: Weighing, counts: list[tuple[str, int, int]], weights: dict[str, int]
) -> None:
    assert gate(weighing).weights(endpoints(pods(*counts)), REVISION) == weights


def test_only_ready_pods_of_the_scope_with_both_labels_count_and_ranks_are_one_pod() -> None:
    known = endpoints(pods(("a", 1, 1)))
    second_rank = replace(known[1], key=known[1].key._replace(rank=1), port=8001)
    others = (
        endpoint(10, labelled("a", "decode"), phase=Phase.STARTING),
        endpoint(11, labelled("a", "decode"), phase=Phase.DRAINING),
        endpoint(12, {**labelled("a", "decode"), "set": "other"}),
        endpoint(13, labelled(None, "decode")),
        endpoint(14, labelled("a", None)),
        endpoint(15, labelled("a", "encode")),
    )
    assert gate().weights((*known, second_rank, *others), REVISION) == {"a": 2}


def test_names_are_drawn_in_proportion_to_their_weights() -> None:
    rng, weights = random.Random(5), {"a": 11, "b": 2, "c": 7}
    drawn_by_chance = Counter(drawn(weights, rng.random()) for _ in range(20_000))
    by_id = Counter(drawn(weights, chance(headers(x_request_id=f"id-{number}"), rng)) for number in range(20_000))
    for counted in (drawn_by_chance, by_id):
        for name, weight in weights.items():
            assert abs(counted[name] / 20_000 - weight / 20) < 0.015


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 2**40), min_size=1), st.floats(0, 1, exclude_max=True))
def test_every_draw_names_something_weighed(weights: dict[str, int], draw: float) -> None:
    assert drawn(weights, draw) in weights


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (headers(x_request_id="r"), headers(x_request_id="r"), True),
        (headers(x_request_id="r"), headers(x_request_id="s"), False),
        (
            headers(x_llm_d_revision_decision_id="d", x_request_id="r"),
            headers(x_llm_d_revision_decision_id="d", x_request_id="s"),
            True,
        ),
        (headers(x_llm_d_revision_decision_id=""), headers(x_llm_d_revision_decision_id=""), False),
    ],
    ids=["one request", "two requests", "one decision", "without an id"],
)
def test_requests_that_share_an_id_share_their_chance_in_every_replica(
    first: Headers, second: Headers, same: bool
) -> None:
    assert (chance(first, random.Random(1)) == chance(second, random.Random(2))) is same


# Screening


def decision(
    labels: Sequence[dict[str, str]], given: Headers = NO_HEADERS, seed: int = 1, memory: PoolMemory | None = None
) -> SchedulingContext:
    facts = RequestFacts("m", given, 0.0, 0.0)
    return context(FakePool(len(labels), labels=labels), facts=facts, seed=seed, memory=memory)


MIXED = [*pods(("a", 1, 2), ("b", 1, 1)), labelled("c", "decode"), labelled(None, "decode")]
HEADERS = [
    ("no gate", None, NO_HEADERS, [0, 1, 2, 3, 4, 5, 6]),
    ("no gate, named", None, headers(x_revision="b"), [3, 4]),
    ("no gate, named and incomplete", None, headers(x_revision="c"), [5]),
    ("no gate, named and nobody's", None, headers(x_revision="d"), []),
    ("no gate, empty", None, headers(x_revision=""), [0, 1, 2, 3, 4, 5, 6]),
    ("named", gate(), headers(x_revision="b"), [3, 4]),
    ("named and incomplete", gate(), headers(x_revision="c"), []),
    ("named and nobody's", gate(), headers(x_revision="d"), []),
    ("another set", gate(scope="set=t"), NO_HEADERS, []),
    ("another set, named", gate(scope="set=t"), headers(x_revision="a"), []),
]


@pytest.mark.parametrize(("gated", "given", "left"), [row[1:] for row in HEADERS], ids=[row[0] for row in HEADERS])
def test_a_header_names_the_revision(gated: Gate | None, given: Headers, left: list[int]) -> None:
    made = decision(MIXED, given)
    assert RolloutScreener((BY_REVISION,), REVISION, gated).screen(made, np.arange(7)).tolist() == left


def test_without_a_header_one_complete_revision_is_left_in_proportion_to_its_pods() -> None:
    screener, rows = RolloutScreener((BY_REVISION,), REVISION, gate("max-role")), np.arange(7)
    made = decision(MIXED)
    left = Counter(tuple(screener.screen(made, rows).tolist()) for _ in range(6000))
    assert set(left) == {(0, 1, 2), (3, 4)}
    assert abs(left[0, 1, 2] / 6000 - 2 / 3) < 0.03


def test_only_revisions_with_a_candidate_are_drawn() -> None:
    screener = RolloutScreener((BY_REVISION,), REVISION, gate())
    for seed in range(20):
        assert screener.screen(decision(MIXED, seed=seed), np.array([3, 5, 6])).tolist() == [3]
    assert screener.screen(decision(MIXED), np.array([5, 6])).tolist() == []


def test_another_strict_header_narrows_first_and_one_revision_is_left_all_the_same() -> None:
    labels = [labelled(revision, role, place) for place in "01" for revision in "ab" for role in ("prefill", "decode")]
    screener = RolloutScreener((BY_REVISION, BY_SLICE), REVISION, gate())
    left = {
        tuple(screener.screen(decision(labels, headers(x_slice="1"), seed), np.arange(8)).tolist())
        for seed in range(20)
    }
    assert left == {(4, 5), (6, 7)}
    both = headers(x_slice="0", x_revision="b")
    assert screener.screen(decision(labels, both), np.arange(8)).tolist() == [2, 3]


def test_a_header_that_only_prefers_leaves_everything_to_scorers() -> None:
    prefers = replace(BY_SLICE, strict=False)
    screener = RolloutScreener((prefers,), REVISION, None)
    labels = [labelled("a", "decode", place) for place in "01"]
    assert screener.screen(decision(labels, headers(x_slice="1")), np.arange(2)).tolist() == [0, 1]
    assert screener.stamps == (("x-slice", SLICE),)


def test_candidates_that_all_stay_are_handed_on_as_they_are() -> None:
    rows = np.arange(3)
    assert RolloutScreener((BY_REVISION,), REVISION, gate()).screen(decision(pods(("a", 1, 2))), rows) is rows


def test_weights_follow_discovery() -> None:
    memory, screener, rows = PoolMemory(), RolloutScreener((BY_REVISION,), REVISION, gate()), np.arange(1)
    labels = [labelled("a", "decode")]
    assert screener.screen(decision(labels, memory=memory), rows).tolist() == []
    memory.discovered = endpoints(pods(("a", 1, 1)))
    assert screener.screen(decision(labels, memory=memory), rows).tolist() == [0]
    elsewhere = tuple(replace(each, key=EndpointKey("other", each.key.name)) for each in memory.discovered)
    memory.discovered = elsewhere
    assert screener.screen(decision(labels, memory=memory), rows).tolist() == []


labels_of_a_pod = st.builds(
    labelled,
    st.sampled_from([None, "", "a", "b", "c"]),
    st.sampled_from([None, "", "prefill", "decode", "encode"]),
    st.sampled_from(["0", "1"]),
)


@settings(max_examples=200)
@given(
    st.lists(labels_of_a_pod, min_size=1, max_size=9),
    st.sets(st.integers(0, 8)),
    st.fixed_dictionaries({}, optional={"x_revision": st.sampled_from(["", "a", "z"]), "x_slice": st.just("0")}),
    st.sampled_from(["sum", "max-role"]),
    st.integers(0, 3),
)
def test_what_is_left_is_of_one_complete_revision(
    labels: list[dict[str, str]], chosen: set[int], given: dict[str, str], weighing: Weighing, seed: int
) -> None:
    """All that is left is of one revision that has every role, fits the headers, and is nothing only where it must."""
    rows = np.array(sorted({each % len(labels) for each in chosen} or {0}), dtype=np.intp)
    screener = RolloutScreener((BY_REVISION, BY_SLICE), REVISION, gate(weighing))
    left = screener.screen(decision(labels, headers(**given), seed), rows).tolist()
    roles = {name: {each.get(ROLE) for each in labels if each.get(REVISION) == name} for name in "abc"}

    def may_serve(row: int) -> bool:
        own = labels[row]
        return (
            {"prefill", "decode"} <= roles.get(own.get(REVISION, ""), set())
            and (not given.get("x_revision") or own[REVISION] == given["x_revision"])
            and (not given.get("x_slice") or own[SLICE] == given["x_slice"])
        )

    allowed = [row for row in rows.tolist() if may_serve(row)]
    assert len({labels[row][REVISION] for row in left}) == bool(allowed)
    assert left == [row for row in allowed if labels[row][REVISION] == labels[left[0]][REVISION]]
