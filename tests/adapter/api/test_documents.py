"""Discovery says the same in every form, and nothing that would make a cluster doubt it."""

from datetime import UTC, datetime

import orjson
import pytest
import yaml

from adapter.api.documents import AGGREGATED, RESOURCES, Clock, constant_documents
from adapter.api.negotiation import Conversion
from adapter.api.paths import Document, parse
from infscale.metrics.published.catalogue import PUBLISHED

DOCUMENTS = constant_documents(["queue_depth"], "0.1.0")


def test_timestamps_are_the_reading_s_second_in_utc() -> None:
    moment = Clock(50.0, datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC))
    assert moment.rfc3339(50.0) == "2026-01-01T00:00:00Z"
    assert moment.rfc3339(49.4) == "2025-12-31T23:59:59Z"


def test_a_resource_has_one_scope_in_every_discovery_entry() -> None:
    """Two scopes under one parent make the whole group version stale in the cluster."""
    documents = constant_documents([metric.name for metric in PUBLISHED], "0.1.0")
    for document in (Document.CUSTOM_V1BETA1, Document.CUSTOM_V1BETA2):
        resources = orjson.loads(documents[document].compact.body)["resources"]
        scopes: dict[str, set[bool]] = {}
        for resource in resources:
            scopes.setdefault(resource["name"].split("/")[0], set()).add(resource["namespaced"])
        assert all(len(each) == 1 for each in scopes.values())
        assert scopes["namespaces"] == {False}
        assert scopes["pods"] == {True}
        assert len(resources) == len({each["name"] for each in resources}) == len(RESOURCES) * len(PUBLISHED)


@pytest.mark.parametrize(
    ("document", "kind", "name"),
    [
        (Document.GROUPS, "APIGroupList", None),
        (Document.CUSTOM, "APIGroup", "custom.metrics.k8s.io"),
        (Document.EXTERNAL, "APIGroup", "external.metrics.k8s.io"),
    ],
)
def test_groups_prefer_the_version_every_cluster_knows(document: Document, kind: str, name: str | None) -> None:
    body = orjson.loads(DOCUMENTS[document].compact.body)
    assert body["kind"] == kind
    assert body.get("name") == name
    for group in body.get("groups", [body]):
        assert group["preferredVersion"]["version"] == "v1beta1"
        assert group["preferredVersion"] in group["versions"]


def written_names(document: Document) -> set[str]:
    return {each["name"] for each in orjson.loads(DOCUMENTS[document].compact.body)["resources"]}


@pytest.mark.parametrize("conversion", AGGREGATED, ids=lambda each: each.version)
def test_aggregated_discovery_lists_the_same_resources(conversion: Conversion) -> None:
    document = DOCUMENTS.aggregated[conversion]
    body = orjson.loads(document.compact.body)
    assert (body["kind"], body["apiVersion"]) == ("APIGroupDiscoveryList", f"apidiscovery.k8s.io/{conversion.version}")
    assert (
        document.compact.content_type
        == f"application/json;g={conversion.group};v={conversion.version};as={body['kind']}"
    )
    found: dict[str, set[str]] = {}
    for group in body["items"]:
        for version in group["versions"]:
            assert version["freshness"] == "Current"
            group_version = (group["metadata"]["name"], version["version"])
            found["/".join(group_version)] = names = set()
            for resource in version["resources"]:
                assert resource["scope"] == ("Cluster" if resource["resource"] == "namespaces" else "Namespaced")
                metrics = resource.get("subresources", [resource])
                for each in metrics:
                    kind = each["responseKind"]
                    assert (kind["group"], kind["version"], each["verbs"]) == (*group_version, ["get"])
                    names.add("/".join(filter(None, (resource["resource"], each.get("subresource")))))
    assert found == {
        "custom.metrics.k8s.io/v1beta1": written_names(Document.CUSTOM_V1BETA1),
        "custom.metrics.k8s.io/v1beta2": written_names(Document.CUSTOM_V1BETA2),
        "external.metrics.k8s.io/v1beta1": written_names(Document.EXTERNAL_V1BETA1),
    }


def test_the_root_lists_every_path_there_is() -> None:
    paths = orjson.loads(DOCUMENTS[Document.ROOT].compact.body)["paths"]
    for path in paths:
        parse("GET", path)
    assert {"/", "/apis", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"} < set(paths)


def test_every_form_of_a_document_has_a_tag_of_its_own() -> None:
    document = DOCUMENTS[Document.GROUPS]
    forms = (document.compact, document.pretty, document.yaml)
    assert len({form.etag for form in forms}) == len({form.body for form in forms}) == 3
    assert (
        yaml.safe_load(document.yaml.body) == orjson.loads(document.pretty.body) == orjson.loads(document.compact.body)
    )
