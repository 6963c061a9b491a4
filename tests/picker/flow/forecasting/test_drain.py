"""How fast a queue drains."""

import pytest

from picker.flow.forecasting.drain import Drain


def test_nothing_is_said_before_anything_has_left() -> None:
    assert Drain().seconds_for(5.0, 1.0) is None


@pytest.mark.parametrize("seconds", [5.0, 60.0, 600.0])
def test_work_takes_as_long_as_it_did_of_late(seconds: float) -> None:
    """Two GPU seconds leave per second, for however long that is known."""
    drain, at = Drain(), 0.0
    while at < seconds:
        drain.left(0.2, at)
        at += 0.1
    assert drain.seconds_for(10.0, at) == pytest.approx(5.0, rel=0.1)


def test_a_queue_that_stands_drains_ever_more_slowly() -> None:
    drain = Drain()
    for tenth in range(300):
        drain.left(0.1, tenth / 10)
    soon, later = drain.seconds_for(10.0, 31.0), drain.seconds_for(10.0, 90.0)
    assert soon is not None
    assert later is not None
    assert later > 5 * soon
