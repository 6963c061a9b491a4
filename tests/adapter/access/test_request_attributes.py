"""What a right is needed for, and the words for not having it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.access.identity import User
from adapter.access.request_attributes import Asked, PathAttributes, ResourceAttributes, access_review, attributes_of
from adapter.api.paths import parse
from adapter.errors import ApiError
from tests.adapter.support import E1, G1, G2, POOLS, vectors

C = "custom.metrics.k8s.io"


def asked(path: str, method: str = "GET", query: str = "") -> Asked:
    try:
        return Asked(method, path, parse(method, path, query))
    except ApiError:
        return Asked(method, path, None)


def resource(*parts: str, verb: str = "get", version: str = "v1beta2") -> ResourceAttributes:
    return ResourceAttributes(verb, C, version, *parts)


@pytest.mark.parametrize(
    ("path", "attributes"),
    [
        (f"{G2}/namespaces/ns/pods/*/m", resource("pods", "m", "*", "ns")),
        (f"{G1}/namespaces/ns/pods/p/m", resource("pods", "m", "p", "ns", version="v1beta1")),
        (f"{G2}/namespaces/ns/{POOLS}/a/m", resource(POOLS, "m", "a", "ns")),
        (f"{G2}/namespaces/ns/metrics/m", resource("metrics", "", "m", "ns")),
        (f"{G2}/nodes/*/m", resource("nodes", "m", "*", "")),
        (f"{G2}/namespaces/ns/pods/*/m/", resource("pods", "m", "*", "ns")),
        (f"{E1}/namespaces/ns/m", ResourceAttributes("list", "external.metrics.k8s.io", "v1beta1", "m", "", "", "ns")),
    ],
    ids=["pods", "pod", "pool", "namespace", "root", "slash at the end", "external"],
)
def test_metrics_need_the_right_that_roles_for_other_adapters_give(path: str, attributes: ResourceAttributes) -> None:
    request = asked(path)
    assert request.request is not None
    assert attributes_of(request) == attributes


@pytest.mark.parametrize(
    "path", ["/", "/apis", f"/apis/{C}", G2, "/version", "/livez", "/metrics", "/openapi/v2", "/x"]
)
def test_other_paths_are_no_resources(path: str) -> None:
    assert attributes_of(asked(path)) == PathAttributes("get", path)


@pytest.mark.parametrize(
    ("method", "path", "attributes"),
    [
        ("POST", f"{G2}/namespaces/ns/pods/*/m", resource("pods", "m", "*", "ns", verb="create")),
        ("DELETE", f"{G2}/namespaces/ns/pods/*/m", resource("pods", "m", "*", "ns", verb="delete")),
        ("GET", f"{G2}/namespaces/ns/pods", resource("pods", "", "", "ns", verb="list")),
        ("GET", f"{G2}/namespaces/ns", resource("namespaces", "", "ns", "ns")),
        ("DELETE", f"{G2}/pods", resource("pods", verb="deletecollection")),
        ("PROPFIND", f"{G2}/pods", resource("pods", verb="propfind")),
        ("GET", "/apis/other/v9/things/a/b/c", ResourceAttributes("get", "other", "v9", "things", "b", "a")),
        ("POST", "/livez", PathAttributes("post", "/livez")),
        ("HEAD", "/nope/", PathAttributes("head", "/nope")),
        ("GET", "/n\udcffe", PathAttributes("get", "/n?e")),
    ],
)
def test_a_request_that_does_not_parse_needs_the_right_of_its_path(
    method: str, path: str, attributes: ResourceAttributes | PathAttributes
) -> None:
    request = asked(path, method)
    assert request.request is None
    assert attributes_of(request) == attributes


def test_a_selector_that_does_not_parse_needs_the_same_right() -> None:
    path = f"{G2}/namespaces/ns/pods/*/m"
    assert attributes_of(asked(path, query="labelSelector=a%20in%20(")) == attributes_of(asked(path))


_WORDS = ("apis", C, "external.metrics.k8s.io", "v1beta1", "v1beta2", "namespaces", "ns", "pods", "*", "metrics", "m")


@given(st.lists(st.sampled_from(_WORDS), max_size=9), st.sampled_from(["", "/"]))
def test_parsing_a_path_never_changes_the_right_it_needs(parts: list[str], end: str) -> None:
    path = "/" + "/".join(parts) + end
    assert attributes_of(asked(path)) == attributes_of(Asked("GET", path, None))


RECORDED = [
    pytest.param(case, id=case["name"])
    for case in vectors("metrics_api_golden.json")["cases"]
    if case["status"] == 403 and "json" in case
]


@pytest.mark.parametrize("case", RECORDED)
def test_refusals_have_the_recorded_words(case: dict[str, Any]) -> None:
    user = case["json"]["message"].split('User "')[1].split('"')[0]
    attributes = attributes_of(asked(case["path"], case["method"]))
    assert attributes.refusal(user) == case["json"]["message"]
    assert attributes.details() == case["json"]["details"]


def test_refusals_without_a_recording() -> None:
    assert attributes_of(asked(f"{E1}/namespaces/ns/m")).refusal("u") == (
        'm.external.metrics.k8s.io is forbidden: User "u" cannot list resource "m" in API group '
        '"external.metrics.k8s.io" in the namespace "ns"'
    )
    assert (
        attributes_of(asked(f"{G2}/nodes/n/m"))
        .refusal('"')
        .endswith(r'User "\"" cannot get resource "nodes/m" in API group "custom.metrics.k8s.io" at the cluster scope')
    )
    assert attributes_of(asked(f"{E1}/namespaces/ns/m")).details() == {"group": "external.metrics.k8s.io", "kind": "m"}


def test_a_review_says_all_that_is_known_of_the_user() -> None:
    user = User("bob", "u-1", ("dev", "system:authenticated"), (("scopes", ("a", "b")),))
    review = access_review(user, attributes_of(asked(f"{G2}/namespaces/ns/pods/*/m")))
    assert (review["apiVersion"], review["kind"]) == ("authorization.k8s.io/v1", "SubjectAccessReview")
    assert review["spec"] == {
        "user": "bob",
        "uid": "u-1",
        "groups": ["dev", "system:authenticated"],
        "extra": {"scopes": ["a", "b"]},
        "resourceAttributes": {
            "verb": "get",
            "group": C,
            "version": "v1beta2",
            "resource": "pods",
            "subresource": "m",
            "name": "*",
            "namespace": "ns",
        },
    }
    spec = access_review(User("bob"), PathAttributes("get", "/apis"))["spec"]
    assert spec == {"user": "bob", "groups": [], "nonResourceAttributes": {"path": "/apis", "verb": "get"}}
