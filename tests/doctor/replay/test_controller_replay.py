"""The replay does what a real controller did, and says what it would have done otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from infscale.doctor.replay.controller_replay import ReplayedSync, replayed, start_replicas
from infscale.doctor.replay.history_file import read_history
from infscale.doctor.replay.past_syncs import PastMetric, PastSync, PerPod, Total, Unknown
from infscale.doctor.replay.replayed_hpa import Overrides, ReplayedHpa, overridden, read_hpa
from infscale.documents.strict_document import load
from infscale.planner.scale_target import PodState
from tests.doctor.replay.replay_hpas import external, hpa, pods, resource

RECORDINGS = Path(__file__).parent.parent / "recordings"
NAMES = sorted(each.name.removesuffix(".hpa.json") for each in RECORDINGS.glob("*.hpa.json"))


@cache
def recorded(name: str) -> tuple[ReplayedHpa, tuple[PastSync, ...]]:
    text = (RECORDINGS / f"{name}.hpa.json").read_text()
    return read_hpa(load(text, name)), read_history(RECORDINGS / f"{name}.json")


@pytest.mark.parametrize("name", NAMES)
def test_every_sync_of_ten_minutes_has_the_real_controller_s_replicas(name: str) -> None:
    """From one number of replicas at the beginning: all others follow from what was answered."""
    found, syncs = recorded(name)
    start = start_replicas(syncs)
    assert start is not None
    ours = [each.replicas for each in replayed(found, syncs, start)]
    real = [each.replicas for each in syncs]
    assert ours == real
    assert syncs[-1].at - syncs[0].at > 590
    assert len(set(real)) > 3


def test_the_recordings_hold_each_form_of_metric_and_times_without_a_value() -> None:
    metrics = [each for name in NAMES for sync in recorded(name)[1] for each in sync.metrics.values()]
    assert {type(each) for each in metrics} == {PerPod, Total, Unknown}
    targets = {each.target_type for name in NAMES for each in recorded(name)[0].metrics}
    assert targets == {"AverageValue", "Value"}


@pytest.mark.parametrize("name", NAMES)
def test_another_tolerance_or_window_is_another_outcome(name: str) -> None:
    """So the equality above is not one that any arithmetic would have."""
    found, syncs = recorded(name)
    other = overridden(found, Overrides(tolerance=0.6, down_window_seconds=60.0))
    assert [each.replicas for each in replayed(other, syncs, 1)] != [each.replicas for each in syncs]


def syncs_of(*values: PastMetric | None, replicas: int | None = 2, name: str = "load") -> tuple[PastSync, ...]:
    metrics: Sequence[Mapping[str, PastMetric]] = [{} if each is None else {name: each} for each in values]
    return tuple(PastSync(1e9 + 15.0 * number, each, replicas) for number, each in enumerate(metrics))


def run(found: ReplayedHpa, syncs: Sequence[PastSync], start: int = 2) -> list[ReplayedSync]:
    return [*replayed(found, syncs, start)]


def test_a_gap_holds_the_replicas_and_is_never_zero() -> None:
    found = run(hpa(external("load", "4")), syncs_of(Total((8000,)), None, Unknown("gone"), Total((8000,))))
    assert [each.desired for each in found] == [2, 2, 2, 2]
    assert [each.values_milli for each in found] == [(8000,), (None,), (None,), (8000,)]
    assert [each.proposed for each in found] == [2, None, None, 2]
    assert found[1].reason == "FailedGetExternalMetric"
    assert "unable to get metric load: unable to fetch metrics from external metrics API: gone" in found[2].explanation


def test_a_gap_of_one_metric_keeps_another_from_scaling_down_and_lets_it_scale_up() -> None:
    both = hpa(external("load", "4"), external("other", "4"))
    low, high = ({"load": Total((milli,))} for milli in (1000, 40_000))
    down, up = run(both, [PastSync(0.0, low, 2), PastSync(15.0, high, 2)])
    assert (down.desired, up.desired) == (2, 4), "at most double, or 4, per sync"


def test_totals_are_the_same_whatever_the_replicas() -> None:
    found = run(overridden(hpa(external("load", "4")), Overrides({"load": 2000})), syncs_of(*[Total((8000,))] * 3))
    assert [each.desired for each in found] == [4, 4, 4]


def test_values_per_pod_are_shared_anew_among_other_replicas() -> None:
    values = PerPod({"a": 6000, "b": 2000})
    found = run(overridden(hpa(pods("load", "4")), Overrides({"load": 2000})), syncs_of(*[values] * 3))
    assert [each.desired for each in found] == [4, 4, 4]
    assert "load 2 per pod / target 2" in found[1].explanation


def test_as_large_a_part_of_other_replicas_has_no_value() -> None:
    found = run(hpa(pods("load", "4")), syncs_of(PerPod({"a": 8000})), start=4)
    assert "4 per pod / target 4 (2 without a value)" in found[0].explanation


def test_no_value_of_any_pod_is_no_value() -> None:
    (found,) = run(hpa(pods("load", "4")), syncs_of(PerPod({})))
    assert (found.desired, found.values_milli, found.reason) == (2, (None,), "FailedGetPodsMetric")


def test_recorded_pods_count_as_they_were() -> None:
    waiting = (PodState("a"), PodState("b", ready=False))
    (sync,) = syncs_of(Total((30_000,)))
    by_value = hpa(external("load", "10", "Value"))
    (found,) = run(by_value, [replace(sync, pods=waiting)])
    assert found.proposed == 3, "one pod is ready"
    (other,) = run(by_value, [replace(sync, pods=waiting)], start=4)
    assert other.proposed == 12, "pods of other replicas are taken to be ready"


def test_a_utilisation_is_in_per_cent() -> None:
    (found,) = run(hpa(resource("cpu", 50)), syncs_of(PerPod({"a": 90_000, "b": 70_000}), name="cpu"))
    assert "80 % / target 50 %" in found.explanation
    assert found.desired == 4


def test_a_workload_at_zero_stays_there_until_a_total_wakes_it() -> None:
    asleep = hpa(external("load", "4"), minReplicas=0)
    found = run(asleep, syncs_of(Total((0,)), Total((9000,)), replicas=0), start=0)
    assert [each.desired for each in found] == [0, 3]


def test_without_samples_there_is_no_sync_and_no_start() -> None:
    assert run(hpa(pods("load", "4")), ()) == []
    assert start_replicas(syncs_of(None, replicas=None)) is None


def test_an_hpa_as_a_person_writes_it_is_read_like_the_api_server_s() -> None:
    written = hpa(pods("load", "4"), behavior={"scaleDown": {"stabilizationWindowSeconds": 60}})
    assert written.bounds.behavior is not None
    assert written.bounds.behavior.scale_up.policies[0].value == 4
