"""OpenAPI documents are whole, refer to themselves only, and describe the answers there are."""

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from adapter.answering.metric_lists import external_list, object_list
from adapter.answering.provider import ExternalValues, ObjectValues
from adapter.api.documents import constant_documents
from adapter.api.paths import Document, ExternalRequest, ObjectRequest, parse
from infscale.labels import Selector
from tests.adapter.support import E1, G1, G2, clock, golden_world

NAMES = ["queue_depth", "queue_depth_external"]
DOCUMENTS = constant_documents(NAMES, "0.1.0")
PARTS = (Document.OPENAPI_CUSTOM_V1BETA1, Document.OPENAPI_CUSTOM_V1BETA2, Document.OPENAPI_EXTERNAL_V1BETA1)


def content(document: Document) -> Any:
    return orjson.loads(DOCUMENTS[document].compact.body)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_index_leads_to_every_part_by_its_hash() -> None:
    index = content(Document.OPENAPI_V3)["paths"]
    assert {f"/openapi/v3/{path}" for path in index} == {part.value for part in PARTS}
    for part in PARTS:
        url = index[part.value.removeprefix("/openapi/v3/")]["serverRelativeURL"]
        assert url == f"{part.value}?hash={DOCUMENTS[part].content_hash}"
        assert parse("GET", *url.split("?")) is not None


@pytest.mark.parametrize("document", [Document.OPENAPI_V2, *PARTS])
def test_every_reference_is_to_a_definition_of_its_own(document: Document) -> None:
    body = content(document)
    definitions = body.get("definitions") or body["components"]["schemas"]
    prefix = "#/definitions/" if "definitions" in body else "#/components/schemas/"
    assert {each.removeprefix(prefix) for each in references(body)} == set(definitions)
    assert all(name.startswith("io.k8s.metrics.pkg.apis.") for name in definitions)


def test_operations_have_names_of_their_own_and_all_versions_are_there() -> None:
    operations = [path["get"]["operationId"] for path in content(Document.OPENAPI_V2)["paths"].values()]
    assert len(operations) == len(set(operations)) == 4 + len(NAMES)
    parts = [path for part in PARTS for path in content(part)["paths"]]
    assert sorted(parts) == sorted(content(Document.OPENAPI_V2)["paths"])


@pytest.mark.parametrize("document", [Document.OPENAPI_V2, *PARTS])
def test_every_path_is_one_and_says_its_parameters(document: Document) -> None:
    for path, item in content(document)["paths"].items():
        parameters = {each["name"]: each for each in item["parameters"]}
        named = re.findall(r"{(\w+)}", path)
        assert [name for name, each in parameters.items() if each["in"] == "path"] == named
        assert all(parameters[name]["required"] for name in named)
        if "metric" in parameters:
            assert (parameters["metric"].get("enum") or parameters["metric"]["schema"]["enum"]) == NAMES
        request = parse("GET", path.format(namespace="ns", resource="pods", name="*", metric=NAMES[0]))
        kind = item["get"]["x-kubernetes-group-version-kind"]
        assert isinstance(request, ObjectRequest) or request == ExternalRequest("ns", path.rsplit("/", 1)[1])
        expected = "MetricValueList" if isinstance(request, ObjectRequest) else "ExternalMetricValueList"
        assert kind["kind"] == expected
        assert path.startswith(f"/apis/{kind['group']}/{kind['version']}/")


def answer(target: str, selector: str) -> Any:
    request = parse("GET", target)
    if isinstance(request, ObjectRequest):
        found = golden_world().objects(request, 100.0)
        values = ObjectValues(found.kind, found.items, "s.1", 30.0)
        request = ObjectRequest(
            request.version, request.resource, "default", "*", request.metric, metric_labels=Selector.parse(selector)
        )
        return orjson.loads(object_list(request, values, clock()))
    assert isinstance(request, ExternalRequest)
    found_external = golden_world().external(request, 100.0)
    return orjson.loads(external_list(request, ExternalValues(found_external.items, "s.1", 30.0), clock()))


def check(value: Any, schema: Any, definitions: Any) -> None:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[1]]
    match schema["type"]:
        case "object":
            if value is None:
                return
            assert isinstance(value, dict)
            assert set(schema.get("required", ())) <= value.keys()
            if "properties" in schema:
                assert value.keys() <= schema["properties"].keys()
            for name, inner in schema.get("properties", {}).items():
                if name in value:
                    check(value[name], inner, definitions)
        case "array":
            assert value
            for each in value:
                check(each, schema["items"], definitions)
        case kind:
            assert isinstance(value, {"string": str, "integer": int}[kind])


@pytest.mark.parametrize(
    ("document", "target"),
    [
        (Document.OPENAPI_CUSTOM_V1BETA1, f"{G1}/namespaces/default/pods/*/queue_depth"),
        (Document.OPENAPI_CUSTOM_V1BETA2, f"{G2}/namespaces/default/pods/*/queue_depth"),
        (Document.OPENAPI_EXTERNAL_V1BETA1, f"{E1}/namespaces/default/queue_depth_external"),
    ],
)
@pytest.mark.parametrize("selector", ["", "model_key=x"])
def test_answers_are_as_described(document: Document, target: str, selector: str) -> None:
    """Nothing that is not described, and everything that is said to be there."""
    body = content(document)
    schemas = body["components"]["schemas"]
    (path,) = list(body["paths"].values())[-1:]
    schema = path["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    check(answer(target, selector), schema, schemas)
