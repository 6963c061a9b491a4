"""A history on a grid of syncs: the latest sample holds for a while, then nothing is known."""

import pytest

from infscale.doctor.replay.past_syncs import MAX_SYNCS, PastSync, Total, resampled


def samples(*times: float) -> tuple[PastSync, ...]:
    return tuple(PastSync(each, {"load": Total((int(each),))}, int(each)) for each in times)


def test_each_step_has_the_latest_sample() -> None:
    found = resampled(samples(0, 10, 20, 30), 15.0)
    assert [(each.at, each.replicas) for each in found] == [(0.0, 0), (15.0, 10), (30.0, 30)]


def test_a_hole_is_unknown_after_twice_the_usual_distance() -> None:
    found = resampled(samples(0, 10, 20, 100), 10.0)
    assert [each.replicas for each in found] == [0, 10, 20, 20, 20, None, None, None, None, None, 100]
    assert found[5].metrics == {}


def test_one_sample_is_one_sync_and_none_is_none() -> None:
    assert resampled(samples(7), 15.0) == samples(7)
    assert resampled((), 15.0) == ()


def test_too_many_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="take a larger step"):
        resampled(samples(0, MAX_SYNCS), 0.5)
