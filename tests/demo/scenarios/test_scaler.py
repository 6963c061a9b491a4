"""The scaler of scenarios: from zero at the first request, by the HPA's arithmetic, and back when it is calm."""

from hypothesis import given
from hypothesis import strategies as st

from infscale.demo.scenarios.scaler import ZeroScaler
from infscale.demo.scenarios.scenario_plan import ZeroScaling

SCALING = ZeroScaling(per_server=10, most=3, calm_seconds=4.0, start_seconds=2.0)


def test_the_first_request_wakes_an_empty_pool_and_none_leaves_it_empty() -> None:
    scaler = ZeroScaler(SCALING)
    assert scaler.wanted(0.0, 0.0, 0) == 0
    assert scaler.wanted(1.0, 1.0, 0) == 1


def test_as_many_servers_as_the_requests_need_and_no_more_than_may_be() -> None:
    scaler = ZeroScaler(SCALING)
    assert scaler.wanted(0.0, 12.0, 1) == 2
    assert scaler.wanted(1.0, 90.0, 2) == 3


def test_servers_leave_when_fewer_sufficed_for_long_enough_and_the_last_one_when_nothing_came() -> None:
    scaler = ZeroScaler(SCALING)
    assert scaler.wanted(0.0, 25.0, 3) == 3
    assert scaler.wanted(3.0, 5.0, 3) == 3
    assert scaler.wanted(5.0, 5.0, 3) == 1
    assert scaler.wanted(8.9, 0.0, 1) == 1
    assert scaler.wanted(9.0, 0.0, 1) == 0


def test_an_answer_that_cannot_be_used_changes_nothing() -> None:
    scaler = ZeroScaler(SCALING)
    assert [scaler.wanted(float(at), None, servers) for at, servers in ((0, 0), (1, 2), (99, 3))] == [0, 2, 3]


@given(st.lists(st.tuples(st.floats(0.1, 5.0), st.none() | st.integers(0, 60)), max_size=30))
def test_a_pool_never_goes_to_zero_while_it_is_asked(steps: list[tuple[float, int | None]]) -> None:
    scaler, now, servers = ZeroScaler(SCALING), 0.0, 0
    for seconds, outstanding in steps:
        now += seconds
        servers = scaler.wanted(now, None if outstanding is None else float(outstanding), servers)
        assert 0 <= servers <= SCALING.most
        assert servers or not outstanding
