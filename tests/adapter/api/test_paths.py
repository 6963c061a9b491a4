"""Paths and queries become typed requests or refusals, once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.api.paths import (
    MAX_QUERY_CHARACTERS,
    CustomVersion,
    Document,
    DocumentRequest,
    ExternalRequest,
    GroupResource,
    ObjectRequest,
    Probe,
    ProbeRequest,
    TelemetryRequest,
    parse,
)
from adapter.errors import ApiError, BadRequest, MethodNotAllowed, NotFound
from infscale.labels import Selector
from tests.adapter.support import E1, G1, G2


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param(
            f"{G1}/namespaces/ns/pods/*/m",
            ObjectRequest(CustomVersion.V1BETA1, GroupResource("pods"), "ns", "*", "m"),
            id="all pods",
        ),
        pytest.param(
            f"{G2}/namespaces/ns/deployments.apps/d/m",
            ObjectRequest(CustomVersion.V1BETA2, GroupResource("deployments", "apps"), "ns", "d", "m"),
            id="group",
        ),
        pytest.param(
            f"{G2}/namespaces/ns/inferencepools.inference.networking.k8s.io/p/m",
            ObjectRequest(
                CustomVersion.V1BETA2, GroupResource("inferencepools", "inference.networking.k8s.io"), "ns", "p", "m"
            ),
            id="the first dot splits resource and group",
        ),
        pytest.param(
            f"{G2}/nodes/n1/m",
            ObjectRequest(CustomVersion.V1BETA2, GroupResource("nodes"), "", "n1", "m"),
            id="root-scoped",
        ),
        pytest.param(
            f"{G2}/namespaces/ns/metrics/m",
            ObjectRequest(CustomVersion.V1BETA2, GroupResource("namespaces"), "", "ns", "m"),
            id="the namespace's own metric",
        ),
        pytest.param(
            f"{G2}/namespaces/ns/pods/p/vllm:num_requests_waiting/",
            ObjectRequest(CustomVersion.V1BETA2, GroupResource("pods"), "ns", "p", "vllm:num_requests_waiting"),
            id="colon, trailing slash",
        ),
        pytest.param(f"{E1}/namespaces/ns/m", ExternalRequest("ns", "m"), id="external"),
        pytest.param("/", DocumentRequest(Document.ROOT), id="root"),
        pytest.param("/apis", DocumentRequest(Document.GROUPS), id="groups"),
        pytest.param("/apis/", DocumentRequest(Document.GROUPS), id="groups, trailing slash"),
        pytest.param(G1, DocumentRequest(Document.CUSTOM_V1BETA1), id="custom v1beta1"),
        pytest.param(E1, DocumentRequest(Document.EXTERNAL_V1BETA1), id="external v1beta1"),
        pytest.param("/livez", ProbeRequest(Probe.LIVE), id="probe"),
        pytest.param("/metrics", TelemetryRequest(), id="telemetry"),
        pytest.param("/openapi/v3/", DocumentRequest(Document.OPENAPI_V3), id="openapi"),
    ],
)
def test_a_path_becomes_its_request(path: str, expected: object) -> None:
    assert parse("GET", path) == expected


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("//apis/", NotFound),
        ("//apis", NotFound),
        ("", NotFound),
        ("apis", NotFound),
        ("*", NotFound),
        ("/api", NotFound),
        ("/openapi", NotFound),
        ("/openapi/v3/apis", NotFound),
        ("/openapi/v3/apis/apps/v1", NotFound),
        ("/metrics/slis", NotFound),
        (f"{G1}/nodes/foo", NotFound),
        (f"{G1}/namespaces/ns", NotFound),
        (f"{G1}/namespaces/ns/pods", BadRequest),
        (f"{G1}/namespaces/ns/pods/p", NotFound),
        (f"{G1}/namespaces/ns/pods/p/m/more", NotFound),
        (f"{G1}/namespaces//pods/p/m", NotFound),
        (f"{G1}/namespaces/ns/pods/../m", NotFound),
        (f"{G1}/namespaces/ns/pods/p/a%2Fb", NotFound),
        (f"{G1}/namespaces/ns/pods/p/{'m' * 600}", NotFound),
        (f"{G1}/namespaces/ns/pods/p/a\x00b", NotFound),
        (f"{G1}/namespaces/ns/pods/p/a\udcffb", NotFound),
        ("/apis/custom.metrics.k8s.io/v1/namespaces/ns/pods/p/m", NotFound),
        ("/apis/metrics.k8s.io/v1beta1/namespaces/ns/pods", NotFound),
        (f"{E1}/namespaces/ns", NotFound),
        (f"{E1}/m", NotFound),
    ],
)
def test_other_paths_do_not_exist(path: str, error: type[ApiError]) -> None:
    with pytest.raises(error):
        parse("GET", path)


def test_a_decoded_slash_makes_another_path_and_never_another_name() -> None:
    """``pods/a%2Fb/m`` arrives decoded as five segments, which name nothing."""
    with pytest.raises(NotFound):
        parse("GET", f"{G2}/namespaces/ns/pods/a/b/m")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "NONSENSE"])
def test_metrics_are_read_with_get_only(method: str) -> None:
    with pytest.raises(MethodNotAllowed, match="the server does not allow this method on the requested resource"):
        parse(method, f"{G1}/namespaces/ns/pods/*/m")


def test_a_path_that_does_not_exist_is_not_found_for_every_method() -> None:
    with pytest.raises(NotFound):
        parse("POST", "/nope")


def test_probes_and_documents_may_be_asked_for_their_head() -> None:
    assert parse("HEAD", "/readyz") == ProbeRequest(Probe.READY)
    assert parse("HEAD", "/metrics") == TelemetryRequest()


def test_a_document_may_be_asked_for_by_its_hash() -> None:
    expected = DocumentRequest(Document.OPENAPI_CUSTOM_V1BETA2, content_hash="0123")
    assert parse("GET", "/openapi/v3/apis/custom.metrics.k8s.io/v1beta2", "hash=0123&timeout=32s") == expected


def test_query_parameters_are_parsed_once() -> None:
    query = "labelSelector=app%3Dvllm%2Ctier+in+%28a%2Cb%29&metricLabelSelector=model_key%3Dx&pretty=true&watch=true"
    request = parse("GET", f"{G1}/namespaces/ns/pods/*/m", query)
    assert isinstance(request, ObjectRequest)
    assert request.labels == Selector.parse("app=vllm,tier in (a,b)")
    assert request.metric_labels == Selector.parse("model_key=x")
    assert request.pretty
    assert request.wanted_name is None


def test_the_first_of_several_parameters_counts() -> None:
    request = parse("GET", f"{E1}/namespaces/ns/m", "labelSelector=a%3Db&labelSelector=c%3Dd")
    assert request == ExternalRequest("ns", "m", Selector.parse("a=b"))


@pytest.mark.parametrize(
    ("name", "field", "wanted"),
    [
        ("*", "metadata.name=x", "x"),
        ("*", "metadata.name==x", "x"),
        ("*", "", None),
        ("p", "", "p"),
        ("p", "metadata.name=x", "p"),
    ],
)
def test_the_field_selector_narrows_a_list_to_one_name(name: str, field: str, wanted: str | None) -> None:
    request = parse("GET", f"{G1}/namespaces/ns/pods/{name}/m", f"fieldSelector={field.replace('=', '%3D')}")
    assert isinstance(request, ObjectRequest)
    assert request.wanted_name == wanted


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("labelSelector=a%20in%20(", "labelSelector: "),
        ("metricLabelSelector=a%20in%20(", "metricLabelSelector: "),
        ("metricLabelSelector=model%3Dmeta-llama%2FLlama", "model_key"),
        ("labelSelector=%FF", "labelSelector: "),
        ("fieldSelector=spec.nodeName%3Dx", "metadata.name"),
        ("fieldSelector=metadata.name!%3Dx", "metadata.name"),
        ("a&" * 100, "parameters"),
        ("a=" + "b" * MAX_QUERY_CHARACTERS, "longer than"),
    ],
)
def test_a_query_that_does_not_parse_is_a_bad_request(query: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        parse("GET", f"{G1}/namespaces/ns/pods/*/m", query)


_SEGMENT = st.one_of(
    st.sampled_from(
        ["apis", "custom.metrics.k8s.io", "v1beta1", "v1beta2", "namespaces", "pods", "*", "metrics", "", ".."]
    ),
    st.text(max_size=12),
)


@given(
    st.sampled_from(["GET", "HEAD", "POST", ""]),
    st.one_of(st.text(), st.lists(_SEGMENT, max_size=9).map("/".join).map(lambda path: "/" + path)),
    st.one_of(st.text(), st.text().map("labelSelector=".__add__), st.text().map("fieldSelector=".__add__)),
)
def test_nothing_but_a_request_or_a_refusal_comes_of_any_input(method: str, path: str, query: str) -> None:
    code = 200
    try:
        parse(method, path, query)
    except ApiError as error:
        code = error.code
    assert code in {200, 400, 404, 405}
