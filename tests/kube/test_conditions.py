"""Which conditions objects get, and when that is worth a write."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import ObjectKey
from infscale.kube import watched_objects as objects
from infscale.kube.assembly import SeenObjects
from infscale.kube.conditions import Judged, Verdict, as_patch, judge, updated
from infscale.kube.watched_objects import Condition, Standing
from tests.kube import cluster_objects as made
from tests.kube.test_assembly import records

NOW = "2026-02-01T00:00:00Z"
PENDING = Condition("Ready", "Unknown", "Pending", "Waiting for controller", "1970-01-01T00:00:00Z")
PENDING_ACCEPTED = Condition("Accepted", "Unknown", "Pending", "Waiting for controller", "1970-01-01T00:00:00Z")
FOREIGN = Condition("example.com/Audited", "True", "Audited", "", made.READY)
VERDICT = Verdict(True, "Accepted", "in effect for InferencePool pool")
BLIND = replace(VERDICT, unknown_load=True)
UNKNOWN_LOAD = Condition(
    "LoadKnown", "False", "NoFreshMetrics", "no ready endpoint of the pool has fresh metrics", made.READY, 3
)
ACCEPTED = Condition("Accepted", "True", "Accepted", "in effect for InferencePool pool", made.READY, 3)


def one(judged: tuple[Judged, ...], name: str) -> Verdict:
    (verdict,) = [each.verdict for each in judged if each.key.name == name]
    return verdict


SEEN = SeenObjects(
    pools=records(objects.POOL, [made.pool("pool")]),
    legacy_pools=records(objects.LEGACY_POOL, [made.legacy_pool("old")]),
    objectives=records(
        objects.OBJECTIVE,
        [
            made.objective("good"),
            made.objective("of-old-pool", "old"),
            made.objective("lost", "nowhere"),
            made.inference("InferenceObjective", "bad", {"poolRef": {"name": "pool"}, "priority": "high"}),
            made.objective("twice"),
        ],
    ),
    models=records(
        objects.MODEL,
        [
            made.model("first", "llama"),
            made.model("second", "llama", created=made.READY),
            made.model("stray", "qwen", "nowhere"),
        ],
    ),
)


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("good", VERDICT),
        ("of-old-pool", Verdict(True, "Accepted", "in effect for InferencePool old")),
        ("lost", Verdict(False, "PoolNotFound", "there is no InferencePool nowhere in namespace chat")),
        ("bad", Verdict(False, "Invalid", "spec.priority: expected a whole number, got a string")),
        ("first", VERDICT),
        (
            "second",
            Verdict(False, "ModelNameInUse", "the older InferenceModel first has this modelName in the pool"),
        ),
        ("stray", Verdict(False, "PoolNotFound", "there is no InferencePool nowhere in namespace chat")),
    ],
)
def test_objects_are_told_whether_they_are_in_effect(name: str, verdict: Verdict) -> None:
    assert one(judge(SEEN), name) == verdict


def test_objects_of_a_pool_whose_load_is_unknown_are_told_so() -> None:
    pool = ObjectKey("chat", "pool")
    assert one(judge(SEEN, frozenset({pool})), "good") == BLIND
    assert not any(each.verdict.unknown_load for each in judge(SEEN, frozenset({ObjectKey("elsewhere", "pool")})))


def test_each_group_of_a_kind_gets_its_own_verdict() -> None:
    seen = SeenObjects(
        pools=records(objects.POOL, [made.pool("pool")]),
        rewrites=records(objects.REWRITE, [made.rewrite("both")]),
        legacy_rewrites=records(objects.LEGACY_REWRITE, [made.rewrite("both"), made.rewrite("alone")]),
    )
    assert [(each.resource.name, each.key.name, each.verdict.reason) for each in judge(seen)] == [
        ("inferencemodelrewrites.llm-d.ai", "both", "Accepted"),
        ("inferencemodelrewrites.inference.networking.x-k8s.io", "both", "Superseded"),
        ("inferencemodelrewrites.inference.networking.x-k8s.io", "alone", "Accepted"),
    ]


def test_a_rollout_is_told_how_far_it_is() -> None:
    rollouts = [made.rollout("good"), made.rollout("lost", "nowhere"), made.rollout("to-nowhere", new="green")]
    seen = SeenObjects(pools=records(objects.POOL, [made.pool("pool")]), rollouts=records(objects.ROLLOUT, rollouts))
    words = ("False", "RolledBack", "the new version is worse: errors")
    judged = judge(seen, progress={ObjectKey("chat", "good"): words})
    assert one(judged, "good") == replace(VERDICT, progress=words)
    assert one(judged, "lost").reason == "PoolNotFound"
    assert one(judged, "to-nowhere").message == "there is no InferencePool green in namespace chat"
    found = updated(Standing(3, "1", (ACCEPTED,)), one(judged, "good"), NOW)
    assert found == (ACCEPTED, Condition("Progressing", *words, NOW, 3))


@pytest.mark.parametrize(
    ("before", "verdict", "after"),
    [
        pytest.param((), VERDICT, (("Accepted", "True", NOW),), id="the first"),
        pytest.param((PENDING,), VERDICT, (("Accepted", "True", NOW),), id="instead of the placeholder"),
        pytest.param((PENDING_ACCEPTED,), VERDICT, (("Accepted", "True", NOW),), id="placeholder of the same type"),
        pytest.param((ACCEPTED,), VERDICT, None, id="nothing new"),
        pytest.param(
            (PENDING, ACCEPTED), VERDICT, (("Accepted", "True", made.READY),), id="the placeholder goes by itself"
        ),
        pytest.param(
            (ACCEPTED,),
            Verdict(False, "PoolNotFound", "gone"),
            (("Accepted", "False", NOW),),
            id="another status, another time",
        ),
        pytest.param(
            (ACCEPTED,),
            Verdict(True, "Accepted", "in effect for InferencePool other"),
            (("Accepted", "True", made.READY),),
            id="another message at the same time",
        ),
        pytest.param((FOREIGN, ACCEPTED), VERDICT, None, id="others' conditions stay"),
        pytest.param(
            (ACCEPTED,),
            BLIND,
            (("Accepted", "True", made.READY), ("LoadKnown", "False", NOW)),
            id="the load of the pool is unknown",
        ),
        pytest.param((ACCEPTED, UNKNOWN_LOAD), BLIND, None, id="the load is still unknown"),
        pytest.param(
            (ACCEPTED, UNKNOWN_LOAD),
            VERDICT,
            (("Accepted", "True", made.READY), ("LoadKnown", "True", NOW)),
            id="the load is known again",
        ),
        pytest.param(
            (FOREIGN,),
            VERDICT,
            (("example.com/Audited", "True", made.READY), ("Accepted", "True", NOW)),
            id="others' conditions stay beside ours",
        ),
    ],
)
def test_conditions_are_written_only_when_they_say_something_new(
    before: tuple[Condition, ...], verdict: Verdict, after: tuple[tuple[str, str, str], ...] | None
) -> None:
    conditions = updated(Standing(3, "7", before), verdict, NOW)
    shown = conditions and tuple((each.type, each.status, each.last_transition_time) for each in conditions)
    assert shown == after


def test_a_new_generation_is_observed() -> None:
    conditions = updated(Standing(4, "7", (ACCEPTED,)), VERDICT, NOW)
    assert conditions is not None
    assert (conditions[0].observed_generation, conditions[0].last_transition_time) == (4, made.READY)


CONDITIONS = st.lists(
    st.builds(
        Condition,
        st.sampled_from(["Accepted", "Ready", "Other", "LoadKnown"]),
        st.sampled_from(["True", "False", "Unknown"]),
        st.sampled_from(["Accepted", "Pending", "Invalid"]),
        st.just("because"),
        st.just(made.READY),
        st.none() | st.integers(0, 4),
    ),
    unique_by=lambda each: each.type,
).map(tuple)


VERDICTS = st.builds(Verdict, st.booleans(), st.just("Accepted"), st.just("because"), st.booleans())


@given(before=CONDITIONS, verdict=VERDICTS)
def test_what_was_written_is_not_written_again(before: tuple[Condition, ...], verdict: Verdict) -> None:
    after = updated(Standing(3, "7", before), verdict, NOW)
    settled = before if after is None else after
    assert updated(Standing(3, "8", settled), verdict, "2027-01-01T00:00:00Z") is None


def test_the_patch_names_the_version_it_was_made_for() -> None:
    assert as_patch(Standing(3, "7", ()), (ACCEPTED, FOREIGN)) == {
        "metadata": {"resourceVersion": "7"},
        "status": {
            "conditions": [
                {
                    "type": "Accepted",
                    "status": "True",
                    "reason": "Accepted",
                    "message": "in effect for InferencePool pool",
                    "lastTransitionTime": made.READY,
                    "observedGeneration": 3,
                },
                {
                    "type": "example.com/Audited",
                    "status": "True",
                    "reason": "Audited",
                    "message": "",
                    "lastTransitionTime": made.READY,
                },
            ]
        },
    }
