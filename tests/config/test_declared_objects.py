"""Pools and kinds that the configuration declares."""

from pathlib import Path
from textwrap import dedent

import pytest

from infscale.config.read import read_config
from infscale.config.settings import ServeConfig
from infscale.discovery.workloads import WorkloadKind
from infscale.documents.strict_document import load
from infscale.endpoint import ObjectKey, Pool
from infscale.errors import ConfigError


def read(text: str) -> ServeConfig:
    return read_config(load(dedent(text), "serve.yaml"), Path("/etc/infscale"))


def test_pools_and_kinds_of_a_cluster_can_be_declared() -> None:
    discovery = read("""
        discovery:
          kubernetes:
            pools:
            - {name: llm/chat, labels: {app: vllm}, ports: [8000, 8001], h2c: true}
            workloads:
            - {resource: servings.example.com, version: v1alpha1, kind: Serving, selector: .status.labelSelector,
               pods: .spec.template.spec}
        """).discovery.kubernetes
    assert discovery is not None
    assert [each.pool for each in discovery.pools] == [
        Pool(ObjectKey("llm", "chat"), {"app": "vllm"}, (8000, 8001), own_ports=True, h2c=True)
    ]
    assert [each.workload for each in discovery.workloads] == [
        WorkloadKind(
            "example.com",
            "v1alpha1",
            "Serving",
            "servings",
            ("status", "labelSelector"),
            (("spec", "template", "spec"),),
        )
    ]


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ("pools: [{name: llm/chat, labels: {}, ports: [1]}]", "expected at least one label: none would choose every"),
        ("pools: [{name: llm/chat, labels: {a: b}, ports: []}]", "expected 1 to 8 different ports, got 0"),
        ("pools: [{name: llm/chat, labels: {a: b}, ports: [1, 1]}]", "expected 1 to 8 different ports, got 2"),
        ("pools: [{name: llm/chat, ports: [1]}]", "key 'labels' is missing"),
        ("namespaces: [a], pools: [{name: b/c, labels: {a: b}, ports: [1]}]", "the namespace of the pool b/c is not"),
        ("workloads: [{resource: rollouts, version: v1, kind: A}]", "expected the plural and the group, such as roll"),
        ("workloads: [{resource: a.b, version: 1.0, kind: A}]", "expected a string, got a number; put it in quotes"),
        ("workloads: [{resource: a.b, version: v1, kind: a}]", "expected a kind such as LeaderWorkerSet, got 'a'"),
        ("workloads: [{resource: a.b, version: v1, kind: A, selector: status}]", "expected a path in the object such"),
    ],
)
def test_what_cannot_be_declared_of_a_cluster_is_refused(declared: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"discovery: {{kubernetes: {{{declared}}}}}")
    assert problem in str(caught.value)
