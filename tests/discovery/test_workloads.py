"""Kinds that have pods: where each says which they are, and on which port."""

from typing import Any

import pytest

from infscale.discovery.workloads import WORKLOADS, WorkloadKind
from infscale.documents.strict_document import Plain, from_plain
from infscale.endpoint import DescribedObject
from infscale.errors import ConfigError

KINDS = {each.kind: each for each in WORKLOADS}
POD: dict[str, Plain] = {
    "containers": [
        {"name": "vllm", "ports": [{"containerPort": 8000}, {"containerPort": 9000, "protocol": "UDP"}]},
        {"name": "sidecar"},
    ]
}
DECLARED: dict[str, Plain] = {"infscale.dev/pool": "true"}


def read(kind: WorkloadKind, spec: Plain, status: Plain = None, *, strict: bool = True) -> DescribedObject:
    item: dict[str, Plain] = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "a", "annotations": DECLARED},
        "spec": spec,
        "status": status,
    }
    return kind.read(from_plain(item, "f", strict=strict))


LABELS: dict[str, Plain] = {"selector": {"matchLabels": {"app": "a"}}}


@pytest.mark.parametrize(
    ("kind", "spec", "status"),
    [
        ("Deployment", {**LABELS, "template": {"spec": POD}}, None),
        ("StatefulSet", {**LABELS, "template": {"spec": POD}}, None),
        ("Rollout", {"template": {"spec": POD}}, {"selector": "app=a"}),
        ("LeaderWorkerSet", {"leaderWorkerTemplate": {"workerTemplate": {"spec": POD}}}, {"hpaPodSelector": "app=a"}),
        (
            "LeaderWorkerSet",
            {"leaderWorkerTemplate": {"leaderTemplate": {"spec": POD}, "workerTemplate": {"spec": {}}}},
            {"hpaPodSelector": "app=a"},
        ),
    ],
)
def test_a_kind_is_described_by_its_selector_and_is_a_pool_on_its_port(kind: str, spec: Any, status: Any) -> None:
    found = read(KINDS[kind], spec, status)
    assert str(found.selector) == "app=a"
    assert found.pool is not None
    assert (str(found.pool.key), found.pool.target_ports) == ("default/a", (8000,))


@pytest.mark.parametrize("status", [None, {}, {"selector": ""}, {"selector": None}])
def test_an_object_whose_controller_has_said_nothing_has_no_pods_and_is_no_pool(status: Any) -> None:
    found = read(KINDS["DisaggregatedSetRoleScaler"], {}, status)
    assert (found.selector, found.pool, found.pool_problem) == (None, None, "")


def test_a_selector_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^f: status.selector: label selector, character 7"):
        read(KINDS["Rollout"], {}, {"selector": "app in"})
    with pytest.raises(ConfigError, match="key 'selector' is missing"):
        read(KINDS["Deployment"], {})


def test_a_mistake_of_an_object_of_the_cluster_ends_its_pool_alone() -> None:
    found = read(KINDS["Rollout"], {"template": {"spec": {"containers": []}}}, {"selector": "app=a"}, strict=False)
    assert str(found.selector) == "app=a"
    assert found.pool is None
    assert "its pods declare no ports" in found.pool_problem
