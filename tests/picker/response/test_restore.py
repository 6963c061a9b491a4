"""Model names come back, and nothing else changes."""

import itertools
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker.request import Headers
from picker.response import BodyPlan, VisibleBody, names_to_restore
from tests.reference_tables import TABLES

EVENTS = Headers((("content-type", b"text/event-stream"),))
DOCUMENT = Headers((("content-type", b"application/json"),))


def restored(
    body: bytes, headers: Headers = DOCUMENT, target: str = "t", incoming: str = "asked", cuts: tuple[int, ...] = ()
) -> bytes:
    visible = VisibleBody(BodyPlan.of(headers, names_to_restore(target, incoming)))
    edges = [0, *sorted(cuts), len(body)]
    chunks = [body[start:stop] for start, stop in itertools.pairwise(edges)]
    return b"".join([visible.feed(chunk) for chunk in chunks]) + visible.end()


@pytest.mark.parametrize("case", TABLES["response_model_rewrite"])
def test_the_references_cases(case: dict[str, str]) -> None:
    body, want = case["body"].encode(), case["want"].encode()
    assert restored(body, target=case["target"], incoming=case["incoming"]) == want
    line = b"data: " + body + b"\n\n"
    assert restored(line, EVENTS, case["target"], case["incoming"]) == b"data: " + want + b"\n\n"


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":[{"text":"\\"model\\":\\"t\\""}]}',
        b'{"choices":[{"model":"t"}]}',
        b'{"usage":{"model":"t"},"model":"other"}',
        b'{"text":"model","x":"t"}',
        b'{"a\\"model":"t"}',
        b'[{"model":"t"}]',
        b'[["model"],"t"]',
        b"no healthy upstream",
        b'{"model":5}',
        b'{"model',
        b'{"model":"t',
        b'}}}"model":"t"',
        b"",
    ],
    ids=repr,
)
def test_everything_else_stays(body: bytes) -> None:
    for cut in range(len(body) + 1):
        assert restored(body, cuts=(cut,)) == body
        assert restored(b"data: " + body + b"\n", EVENTS, cuts=(cut,)) == b"data: " + body + b"\n"


TEXTS = st.text(max_size=6) | st.sampled_from(['"model":"t"', "\\", '"', '{"model":"t"}', "model"])
VALUES = st.recursive(
    TEXTS | st.integers(0, 9) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["model", "x", "y"]), inner, max_size=3)
    ),
    max_leaves=6,
)
DOCUMENTS = st.tuples(
    st.dictionaries(st.sampled_from(["a", "b", "modem"]), VALUES, max_size=2),
    st.sampled_from([{}, {"model": "t"}, {"model": "other"}]),
    st.dictionaries(st.sampled_from(["c", "d"]), VALUES, max_size=2),
).map(lambda parts: {**parts[0], **parts[1], **parts[2]})


@settings(max_examples=300, deadline=None)
@given(document=DOCUMENTS, cuts=st.lists(st.integers(0, 120), max_size=6), spaced=st.booleans(), events=st.booleans())
def test_any_cut_of_a_document_is_restored_alike(
    document: dict[str, Any], cuts: list[int], spaced: bool, events: bool
) -> None:
    text = json.dumps(document, separators=(", ", ": ") if spaced else (",", ":"), ensure_ascii=False).encode()
    want = {**document, "model": "asked"} if document.get("model") == "t" else document
    body = b"data: " + text + b"\n\n" if events else text
    out = restored(body, EVENTS if events else DOCUMENT, cuts=tuple(min(cut, len(body)) for cut in cuts))
    found = orjson.loads(out.removeprefix(b"data: "))
    assert list(found.items()) == list(want.items())


def test_text_is_not_held_back() -> None:
    """Only what may still become the model's key and value waits for the next chunk."""
    visible = VisibleBody(BodyPlan.of(DOCUMENT, ("t", "asked")))
    assert visible.feed(b'{"text":"a long answ') == b'{"text":"a long answ'
    assert visible.feed(b'er","mo') == b'er",'
    assert visible.feed(b'del"') == b""
    assert visible.feed(b' :"') == b""
    assert visible.feed(b't"}') == b'"model" :"asked"}'
    assert visible.feed(b"anything") == b"anything"


def test_a_model_name_without_end_is_not_held_for_ever() -> None:
    visible = VisibleBody(BodyPlan.of(DOCUMENT, ("t", "asked")))
    sent = visible.feed(b'{"model":"' + b"x" * 3000) + visible.feed(b"x" * 3000)
    assert len(sent) == 6010


PRETTY = json.dumps({"id": "x", "model": "t", "choices": [{"text": "model"}]}, indent=2).encode()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_the_model_of_an_event_of_several_lines_comes_back(end: bytes, size: int) -> None:
    def stream(document: bytes) -> bytes:
        data = [b"data: " + line for line in document.split(b"\n")]
        return end.join([b": ping", b"", b"event: x", *data, b"", b"data: [DONE]", b""]) + end

    body = stream(PRETTY)
    got = restored(body, EVENTS, cuts=tuple(range(size, len(body), size)))
    assert got == stream(PRETTY.replace(b'"t"', b'"asked"'))


def test_an_event_that_never_ends_passes_on() -> None:
    visible = VisibleBody(BodyPlan.of(EVENTS, ("t", "asked")))
    line = b"data: {" + b"x" * 1000 + b"\n"
    passed = sum(len(visible.feed(line)) for _ in range(5_000))
    assert passed > 3_900 * len(line)
    assert passed + len(visible.end()) == 5_000 * len(line)
