"""How services are, under every name that is asked for."""

import pytest
from grpc_health.v1 import health_pb2

from picker.transport.health import Health
from picker.transport.interface import EXT_PROC_SERVICE

_Status = health_pb2.HealthCheckResponse
READINESS = ("", "readiness", EXT_PROC_SERVICE, "inference-extension")


def said(health: Health, service: str) -> int | None:
    found = health.check(service)
    return None if found is None else int(found.status)


@pytest.mark.parametrize("service", READINESS)
def test_readiness_has_several_names_and_ends_with_draining(service: str) -> None:
    ready = False
    health = Health(lambda: ready)
    assert said(health, service) == _Status.NOT_SERVING
    ready = True
    assert said(health, service) == _Status.SERVING
    health.drain()
    assert (said(health, service), said(health, "liveness")) == (_Status.NOT_SERVING, _Status.SERVING)


def test_a_name_that_nobody_knows_is_unknown_unless_any_will_do() -> None:
    assert said(Health(lambda: True), "weather") is None
    assert said(Health(lambda: True, any_service=True), "weather") == _Status.SERVING


async def test_a_watch_is_told_of_changes_until_it_is_stopped() -> None:
    health = Health(lambda: True)
    watching = health.watch("")
    assert (await anext(watching)).status == _Status.SERVING
    assert health.watchers == 1
    health.drain()
    assert (await anext(watching)).status == _Status.NOT_SERVING
    health.stop()
    assert [each async for each in watching] == []
    assert health.watchers == 0
