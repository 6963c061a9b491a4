"""Requests of scenarios as they are sent: class and tenant in headers, and rows made of what became of them."""

import pytest

from infscale.client_headers import TRUSTABLE
from infscale.demo.scenarios.scenario_load import (
    FAIRNESS_HEADER,
    OBJECTIVE_HEADER,
    TRUSTED_HEADERS,
    rows,
    sent,
    virtual_requests,
)
from infscale.demo.scenarios.scenario_plan import overload, sessions
from infscale.sim.load.load_generator import Outcome
from infscale.sim.load.load_requests import decode_requests, encode_requests


def test_a_request_says_its_class_and_its_tenant_where_it_has_one() -> None:
    virtual = virtual_requests(overload(), 1)
    for one, request in zip(virtual, sent(virtual), strict=True):
        headers = dict(request.headers)
        assert headers[OBJECTIVE_HEADER] == one.request_class
        assert headers.get(FAIRNESS_HEADER) == one.tenant
    assert set(TRUSTED_HEADERS) <= set(TRUSTABLE)


def test_the_load_generator_reads_what_was_written_for_it() -> None:
    requests = sent(virtual_requests(sessions(), 2))[:20]
    assert decode_requests(encode_requests(requests)) == requests
    assert all(each.session is not None for each in requests)


def test_a_row_has_what_was_asked_and_what_became_of_it() -> None:
    virtual = virtual_requests(overload(), 1)
    answered = Outcome(3, 0.0, 9.0, 200, "server-1", 0.25, 0.01, 100, 64, 60)
    refused = Outcome(1, 0.0, 5.0, 429, failure="429 rejected-ttl-expired", refused=True)
    first, second = rows(virtual, [answered, refused])
    assert (first.at, first.ttft) == (virtual[3].at_seconds, pytest.approx(0.25))
    assert (first.endpoint, first.prompt_tokens, first.cached_tokens, first.output_tokens) == ("server-1", 100, 64, 60)
    assert (second.refused, second.failure, second.first_at) == (True, "429 rejected-ttl-expired", None)
