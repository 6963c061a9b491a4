"""`Accept` and `If-None-Match` are read as the API server reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.api.documents import AGGREGATED
from adapter.api.forms import Form
from adapter.api.negotiation import MAX_ACCEPT_CHARACTERS, Accepted, Preferences, accepted, negotiated
from adapter.errors import NotAcceptable

JSON, YAML = Accepted(Form.JSON), Accepted(Form.YAML)
V2, V2BETA1 = AGGREGATED
AS_V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
AS_V2BETA1 = AS_V2.replace("v=v2", "v=v2beta1")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("*", JSON),
        ("application/*", JSON),
        ("application/json", JSON),
        ("Application/JSON; charset=utf-8", JSON),
        ("application/json;stream=watch", JSON),
        ("application/vnd.kubernetes.protobuf, */*", JSON),
        ("application/vnd.kubernetes.protobuf,application/json", JSON),
        ("application/yaml", YAML),
        ("application/yaml;q=0.5, application/json;q=0.4", YAML),
        ("*/*, application/yaml", YAML),
        ("application/json;q=0, application/yaml", YAML),
        ("application/yaml;q=0.2, */*;q=0.9", JSON),
        ("application/json;pretty=1", Accepted(Form.JSON, pretty=True)),
        ("application/json;as=Table;g=meta.k8s.io;v=v1, application/json", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("nonsense, ;, /json, application/json;q=x, application/yaml", YAML),
    ],
)
def test_the_first_form_a_client_takes_is_written(accept: str | None, expected: Accepted) -> None:
    assert negotiated(accept) == expected


@pytest.mark.parametrize(
    "accept",
    [
        "application/json;as=Table;g=meta.k8s.io;v=v1",
        "application/vnd.kubernetes.protobuf",
        "text/html",
        "*/json",
        "application/json;q=0",
        "application/json;sv=v1",
        "nonsense",
        ",",
        AS_V2,
        "application/json," + "a/b," * MAX_ACCEPT_CHARACTERS,
    ],
    ids=lambda accept: accept[:40],
)
def test_what_cannot_be_written_is_not_acceptable(accept: str) -> None:
    message = "only the following media types are accepted: application/json, application/yaml"
    with pytest.raises(NotAcceptable, match=message):
        negotiated(accept)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f"{AS_V2},{AS_V2BETA1}", V2),
        (f"{AS_V2BETA1},{AS_V2}", V2BETA1),
        (f"{AS_V2},{AS_V2BETA1},application/json", V2),
        (f"{AS_V2};q=0.1,{AS_V2BETA1};q=0.2", V2BETA1),
        (f"application/json,{AS_V2};profile=nopeer", V2),
        (AS_V2.replace("v=v2", "v=v3"), None),
        (AS_V2.replace("as=APIGroupDiscoveryList", "as=Table"), None),
        ("application/json", None),
        (None, None),
    ],
)
def test_conversions_are_offered_by_name(accept: str | None, expected: object) -> None:
    found = accepted(accept, AGGREGATED)
    assert (None if found is None else found.conversion) == expected


@given(st.one_of(st.text(), st.text('application/json*;,=q.01 "')))
def test_no_header_hurts(accept: str) -> None:
    found = accepted(accept, (None, *AGGREGATED))
    assert found is None or found.form in Form


@pytest.mark.parametrize(
    ("if_none_match", "has"),
    [
        (None, False),
        ("", False),
        ('"abc"', True),
        ('W/"abc"', True),
        ('"x", W/"abc" , "y"', True),
        ("*", True),
        (" * ", True),
        ('"abcd"', False),
        ('"xabc"', False),
        ("abc", False),
        ('"abc', False),
        ('"*"', False),
        ('"' * 5_001, False),
    ],
)
def test_a_client_has_what_it_names(if_none_match: str | None, has: bool) -> None:
    assert Preferences(None, if_none_match).has('"abc"') is has
