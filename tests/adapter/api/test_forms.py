"""JSON and YAML say the same."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from adapter.api.forms import Form, rewritten, yaml_text

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_WORDS = st.sampled_from(
    ["yes", "No", "null", "~", "1500m", "2026-11-24T03:33:06Z", "1e3", "a: b", "- a", "&a", "a #b"]
)
_DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), _TEXT, _WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.one_of(_TEXT, _WORDS), inner, max_size=4)),
    max_leaves=20,
)


@given(_DOCUMENTS)
def test_yaml_reads_as_what_was_written(content: Any) -> None:
    assert yaml.safe_load(yaml_text(content)) == content


@given(st.dictionaries(_TEXT, _TEXT, max_size=3))
def test_every_form_says_the_same(content: Mapping[str, str]) -> None:
    body = orjson.dumps(content)
    assert orjson.loads(rewritten(body, Form.JSON, pretty=True)) == content
    assert rewritten(body, Form.JSON) == body
    assert yaml.safe_load(rewritten(body, Form.YAML)) == content


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"a": {"b": None}, "c": []}, "a:\n  b: null\nc: []\n"),
        ({"items": [{"name": "x", "in": [1, 2]}]}, "items:\n- name: x\n  in:\n  - 1\n  - 2\n"),
        ([[1], {}], "- - 1\n- {}\n"),
        ({"v": "1500m", "y": "yes"}, 'v: "1500m"\n"y": "yes"\n'),
        ("a\x7f\U0001f600", '"a\\U0000007f\\U0001f600"\n'),
        (None, "null\n"),
    ],
)
def test_yaml_is_written_in_blocks(content: object, text: str) -> None:
    assert yaml_text(content) == text
