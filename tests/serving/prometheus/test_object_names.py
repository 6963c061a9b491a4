"""Names of objects come from the API server where there is one, else from discovery; the rights are declared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from infscale.endpoint import DescribedObject, DiscoveryState, Endpoint, EndpointKey, ObjectKey
from infscale.kube.api.client import KubeClient
from infscale.kube.api.errors import Forbidden, KubeError, NotFound, Unreachable
from infscale.kube.rights import Right
from infscale.labels import Selector
from infscale.periodic import FetchError
from infscale.prometheus.rules.object_kinds import NAMESPACE, POD, ObjectKinds
from infscale.prometheus.rules.rules_file import parse_rules
from infscale.serving.prometheus.object_names import DiscoveredNames, ListedNames, listing_needs

DEPLOYMENT = ObjectKinds().find("deployment", "apps")
NODE = ObjectKinds().find("nodes", "")
LEADER = ObjectKinds().find("leaderworkerset")


@dataclass
class Cluster:
    """An API server with these documents; `error` instead where there is one."""

    documents: Mapping[str, Any]
    error: KubeError | None = None
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list[tuple[str, Mapping[str, str]]])

    def within(self, seconds: float, size: int) -> "Cluster":
        assert seconds > 0
        assert size > 0
        return self

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        self.asked.append((path, params or {}))
        if self.error is not None:
            raise self.error
        found = self.documents[path]
        return found[int((params or {}).get("continue", "0"))] if isinstance(found, list) else found


def listed(cluster: Cluster) -> ListedNames:
    return ListedNames(cast("KubeClient", cluster))


def page(*names: str, more: str = "") -> dict[str, Any]:
    return {"metadata": {"continue": more}, "items": [{"metadata": {"name": name}} for name in names]}


async def test_all_pages_of_a_list_are_read() -> None:
    cluster = Cluster({"/api/v1/namespaces/llm/pods": [page("a", "b", more="1"), page("c")]})
    assert await listed(cluster).names(POD, "llm", Selector.parse("app=vllm")) == ["a", "b", "c"]
    assert cluster.asked[0][1]["labelSelector"] == "app=vllm"


async def test_the_version_of_a_kind_is_the_one_that_the_cluster_prefers() -> None:
    assert LEADER is not None
    group = {"preferredVersion": {"version": "v2"}}
    path = "/apis/leaderworkerset.x-k8s.io/v2/namespaces/llm/leaderworkersets"
    cluster = Cluster({"/apis/leaderworkerset.x-k8s.io": group, path: page("a")})
    names = listed(cluster)
    assert [*await names.names(LEADER, "llm", Selector()), *await names.names(LEADER, "llm", Selector())] == ["a", "a"]
    assert [path for path, _ in cluster.asked].count("/apis/leaderworkerset.x-k8s.io") == 1


async def test_root_scoped_objects_are_listed_without_a_namespace() -> None:
    assert NODE is not None
    cluster = Cluster({"/api/v1/nodes": page("n")})
    assert await listed(cluster).names(NODE, "", Selector()) == ["n"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Forbidden("no"), "infscale may not list pods: allow it list on pods"),
        (NotFound("no"), "the cluster has no pods"),
        (Unreachable("no answer within 5 s"), "cannot be listed: no answer within 5 s"),
    ],
)
async def test_why_names_are_not_known(error: KubeError, words: str) -> None:
    with pytest.raises(FetchError) as refused:
        await listed(Cluster({}, error)).names(POD, "llm", Selector())
    assert words in str(refused.value)


async def test_without_a_cluster_discovery_knows_the_names() -> None:
    assert DEPLOYMENT is not None
    assert NAMESPACE is not None
    labels = {"app": "vllm"}
    endpoints = tuple(
        Endpoint(EndpointKey(space, "p", rank), "::1", 1, labels) for space in ("a", "b") for rank in (0, 1)
    )
    objects = (
        DescribedObject("apps", "v1", "Deployment", "deployments", ObjectKey("a", "d"), labels=labels),
        DescribedObject("", "v1", "Namespace", "namespaces", ObjectKey("a", "a"), labels=labels),
    )
    names = DiscoveredNames(lambda: DiscoveryState(endpoints, objects=objects))
    assert await names.names(POD, "a", Selector.parse("app=vllm")) == ("p",)
    assert await names.names(POD, "a", Selector.parse("app=x")) == ()
    assert await names.names(DEPLOYMENT, "a", Selector()) == ("d",)
    assert await names.names(DEPLOYMENT, "b", Selector()) == ()
    assert await names.names(NAMESPACE, "", Selector()) == ("a",)


def test_the_rights_are_those_of_the_kinds_that_rules_name() -> None:
    rules = parse_rules(
        "rules:\n- seriesQuery: x\n  metricsQuery: y\n"
        "  resources: {overrides: {d: {group: apps, resource: deployment}, n: {resource: node}}}\n",
        "f",
    )
    assert listing_needs(rules) == {
        Right("list", "", "pods"),
        Right("list", "apps", "deployments"),
        Right("list", "", "nodes"),
    }
