"""Endpoints and pools: what addresses there are, and which endpoints a pool and an object have."""

from dataclasses import replace

import pytest

from infscale.endpoint import (
    DescribedObject,
    DiscoveryState,
    Endpoint,
    EndpointKey,
    ObjectKey,
    Pool,
    Workload,
    is_host_name,
    is_loopback,
)
from infscale.labels import Selector

ENDPOINT = Endpoint(EndpointKey("llm", "a-0"), "10.0.0.1", 8000, {"app": "a"})
POOL = Pool(ObjectKey("llm", "a"), {"app": "a"})


@pytest.mark.parametrize(
    ("address", "metrics", "page"),
    [
        ("10.0.0.1", {}, "10.0.0.1:8000"),
        ("fd00::1", {}, "[fd00::1]:8000"),
        ("10.0.0.1", {"metrics_port": 9}, "10.0.0.1:9"),
        ("east.example.org", {"metrics_address": "fd00::2"}, "[fd00::2]:8000"),
    ],
)
def test_the_page_is_where_requests_go_unless_it_is_said_otherwise(
    address: str, metrics: dict[str, object], page: str
) -> None:
    made = Endpoint(EndpointKey("llm", "a"), address, 8000, **metrics)  # type: ignore[arg-type]
    assert made.metrics_authority() == page
    assert made.authority == (f"[{address}]:8000" if ":" in address else f"{address}:8000")


@pytest.mark.parametrize(("address", "port"), [("10.0.0.300", 1), ("a b", 1), ("", 1), ("10.0.0.1", 0), ("::1", 65536)])
def test_what_is_no_address_is_refused(address: str, port: int) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        Endpoint(EndpointKey("llm", "a"), address, port)


@pytest.mark.parametrize(
    ("text", "is_name"),
    [("a", True), ("a.b.", True), ("1.2", False), ("a" * 64, False), ("a..b", False), ("-a", False), ("é", False)],
)
def test_a_host_name_has_letters_and_short_labels(text: str, is_name: bool) -> None:
    assert is_host_name(text) is is_name


def test_loopback_is_this_machine() -> None:
    assert [is_loopback(each) for each in ("localhost", "127.9.9.9", "::1", "10.0.0.1")] == [True, True, True, False]


@pytest.mark.parametrize(
    ("pool", "selects"),
    [
        (POOL, True),
        (replace(POOL, key=ObjectKey("other", "a")), False),
        (replace(POOL, key=ObjectKey("other", "a"), anywhere=True), True),
        (replace(POOL, selector={"app": "b"}), False),
        (replace(POOL, target_ports=(1,)), True),
        (replace(POOL, target_ports=(1,), own_ports=True), False),
        (replace(POOL, requirements=Selector.parse("app notin (a)")), False),
    ],
    ids=["labels", "namespace", "anywhere", "other labels", "ports", "own ports", "requirements"],
)
def test_a_pool_has_the_endpoints_its_selector_chooses(pool: Pool, selects: bool) -> None:
    assert pool.selects(ENDPOINT) is selects
    state = DiscoveryState((ENDPOINT,), (pool,))
    assert state.members(pool) == state.of_pool(pool.key).endpoints == ((ENDPOINT,) if selects else ())


@pytest.mark.parametrize(
    ("owner", "describes"),
    [(None, True), (Workload("Deployment", "a"), True), (Workload("Deployment", "b"), False)],
    ids=["unknown", "its own", "another"],
)
def test_a_workload_has_the_pods_it_owns_where_owners_are_known(owner: Workload | None, describes: bool) -> None:
    selector = Selector.parse("app=a")
    made = DescribedObject("apps", "v1", "Deployment", "deployments", POOL.key, selector, owns_pods=True)
    assert made.describes(replace(ENDPOINT, workload=owner)) is describes
    assert not replace(made, selector=None).describes(ENDPOINT)
