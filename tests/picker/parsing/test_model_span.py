"""Splicing the model name into a body is the same as changing it in the document."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker.parsing import with_model


def spliced(body: bytes, model: str) -> Any:
    return orjson.loads(with_model(body, model, named=True))


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a"}',
        b' {\n "model" :\t"a" }',
        b'{"x":{"model":"q"},"model":"a"}',
        b'{"model":"a","x":[{"model":"q"}]}',
        b'{"model":"first","model":"a"}',
        b'{"mod\\u0065l":"a"}',
        b'{"model":"first","\\u006dod\\u0065l":"a"}',
        b'{"\\u006dodel":"first","model":"a"}',
        b'{"prompt":"\\"model\\":\\"q\\"","model":"a"}',
        b'{"a\\"model":"q","model":"a"}',
        b'{"x":"model","model":"a"}',
        b'{"model":"model"}',
        b'{"model":""}',
        b'{"model":null,"prompt":"null"}',
        b'{"model":"first","model": null}',
        b'{"model":"quo\\"te\\\\","prompt":"\\u006d"}',
        '{"model":"größe","x":"\\u00f6"}'.encode(),
    ],
    ids=lambda body: body.decode(),
)
def test_only_the_top_level_model_changes(body: bytes) -> None:
    assert spliced(body, "new") == {**orjson.loads(body), "model": "new"}


def test_everything_else_keeps_its_bytes() -> None:
    body = b'{ "a" : 1.0,\n "model":"old" , "z":"\\u00e9" }'
    assert with_model(body, "new", named=True) == body.replace(b'"old"', b'"new"')


def test_a_body_without_a_model_gets_one() -> None:
    assert orjson.loads(with_model(b' {"items":[1]}', "new", named=False)) == {"model": "new", "items": [1]}


KEYS = st.sampled_from(["model", "x", 'a"model', "mod", "prompt", "Model"]) | st.text(max_size=3)
VALUES = st.recursive(
    st.text(max_size=6) | st.sampled_from(["model", '"model":"x"', "\\", '"']) | st.integers(0, 9) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def spelled(text: str, escape: bool) -> str:
    """`text` as a JSON string, every character escaped or none that need not be."""
    if not escape:
        return json.dumps(text, ensure_ascii=False)
    units = text.encode("utf-16-be").hex()
    return '"' + "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)) + '"'


@settings(max_examples=300, deadline=None)
@given(
    pairs=st.lists(st.tuples(KEYS, VALUES, st.booleans()), max_size=4),
    models=st.lists(st.tuples(st.text(max_size=5), st.booleans(), st.integers(0, 4)), min_size=1, max_size=3),
    space=st.sampled_from(["", " ", "\n\t"]),
    new=st.text(max_size=5),
)
def test_splicing_equals_changing_the_document(
    pairs: list[tuple[str, Any, bool]], models: list[tuple[str, bool, int]], space: str, new: str
) -> None:
    """With any whitespace, escapes, duplicates, nesting and order."""
    members = [
        f"{spelled(key, escape)}{space}:{space}{json.dumps(value)}"
        for key, value, escape in pairs
        if key != "model" or isinstance(value, str)
    ]
    for model, escape, place in models:
        members.insert(place, f"{spelled('model', escape)}{space}:{space}{spelled(model, escape)}")
    body = f"{space}{{{space}{f'{space},'.join(members)}{space}}}".encode()
    assert spliced(body, new) == {**orjson.loads(body), "model": new}
