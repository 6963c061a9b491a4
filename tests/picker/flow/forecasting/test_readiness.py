"""When the next endpoint is ready, by how long others took."""

from dataclasses import replace

from infscale.endpoint import Endpoint, Phase
from picker.flow.forecasting.readiness import Readiness
from tests.fakes.pools import endpoint


def starting(*rows: int) -> list[Endpoint]:
    return [endpoint(row, phase=Phase.STARTING) for row in rows]


def taught(*seconds: float) -> Readiness:
    """What is known after endpoints took so many seconds, one after the other, from time 0."""
    known, now = Readiness(), 0.0
    known.follow([], now)
    for row, each in enumerate(seconds):
        known.follow(starting(row), now)
        now += each
        known.follow([endpoint(row)], now)
        known.follow([], now)
    return known


def test_nothing_is_said_before_an_endpoint_has_become_ready() -> None:
    known = Readiness()
    known.follow(starting(0), 0.0)
    assert known.seconds(5.0) is None
    known.follow([endpoint(0)], 10.0)
    assert known.seconds(10.0) is None, "it was there already, and it is not known since when"


def test_one_that_starts_takes_as_long_as_others_took() -> None:
    known = taught(50.0, 70.0)
    assert known.seconds(120.0) == 60.0, "if one started now"
    assert not known.starting
    known.follow(starting(5, 6), 200.0)
    assert known.starting
    assert known.seconds(220.0) == 40.0
    assert known.seconds(300.0) == 1.0, "it is late, and may be there at any moment"


def test_one_that_goes_before_it_is_ready_teaches_nothing() -> None:
    known = taught(50.0)
    known.follow(starting(5), 60.0)
    known.follow([replace(endpoint(5), phase=Phase.DRAINING)], 61.0)
    assert known.seconds(100.0) == 50.0
