"""The reference's cases of session affinity through the real director."""

from typing import Any

import pytest

from picker.ext_proc import wire_codec as wire
from picker.ext_proc.messages import Fail
from picker.proto import ext_proc_pb2 as pb
from tests.picker.session_cases import SESSIONS, Told, steps, told
from tests.picker.vector_checks import messages
from tests.picker.vector_pool import Case, VectorPool


def heard(pool: VectorPool, request: dict[str, Any]) -> Told:
    exchange, answers = pool.exchange(), list[pb.ProcessingResponse]()
    for message in messages(request):
        for send in exchange.receive(wire.decode(message.SerializeToString()), 0.01):
            assert not isinstance(send, Fail), send
            answers.append(pb.ProcessingResponse.FromString(wire.encode(send)))
    exchange.closed(1.0)
    return told(answers)


@pytest.mark.parametrize("case", SESSIONS.values(), ids=[case["name"] for case in SESSIONS.values()])
def test_sessions_stay_as_the_reference_s_do(case: Case) -> None:
    pool, asking = VectorPool(case), steps(case)
    request = next(asking)
    try:
        while True:
            request = asking.send(heard(pool, request))
    except StopIteration:
        assert pool.in_flight() == 0.0


def test_requests_without_the_session_do_not_stay() -> None:
    """The cases can fail: the same requests without what names their session go to several endpoints."""
    case = SESSIONS[33]
    pool = VectorPool(case)
    assert len({heard(pool, case["request"]["base"])["request x-gateway-destination-endpoint"] for _ in range(20)}) == 2
