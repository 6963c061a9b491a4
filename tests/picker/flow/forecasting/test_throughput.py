"""How fast a queue is worked off while requests wait in it."""

import pytest

from picker.flow.forecasting.throughput import Throughput


def worked(seconds: float, rate: float, endpoints: int = 2, *, waiting: bool = True, at: float = 0.0) -> Throughput:
    """What is known after so many seconds in which `rate` GPU seconds left per second."""
    known, end = Throughput(), at + seconds
    known.watch(at, waiting, endpoints)
    while at < end:
        at += 0.1
        known.left(0.1 * rate)
        known.watch(at, waiting, endpoints)
    return known


def test_nothing_is_said_of_a_queue_that_was_hardly_watched() -> None:
    assert Throughput().seconds_for(5.0, 2) is None
    assert worked(2.0, 1.0).seconds_for(5.0, 2) is None
    assert worked(60.0, 1.0).seconds_for(5.0, 0) is None
    assert worked(60.0, 0.0).seconds_for(5.0, 2) is None


@pytest.mark.parametrize("seconds", [6.0, 60.0, 600.0])
def test_work_takes_as_long_as_it_took_of_late(seconds: float) -> None:
    assert worked(seconds, 2.0).seconds_for(10.0, 2) == pytest.approx(5.0, rel=0.05)


def test_twice_as_many_endpoints_take_half_as_long() -> None:
    assert worked(60.0, 2.0).seconds_for(10.0, 4) == pytest.approx(2.5, rel=0.05)


def test_what_passes_while_nothing_waits_says_nothing() -> None:
    """A pool of which little is asked is not slow."""
    known = worked(60.0, 2.0)
    known.watch(60.0, False, 2)
    known.watch(600.0, True, 2)
    assert known.seconds_for(10.0, 2) == pytest.approx(5.0, rel=0.05)


def test_a_queue_that_stands_takes_ever_longer() -> None:
    known = worked(60.0, 2.0)
    known.watch(90.0, True, 2)
    later = known.seconds_for(10.0, 2)
    assert later is not None
    assert later > 10.0
