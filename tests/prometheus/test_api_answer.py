"""Answers are read the same in pieces as at once, whatever labels hold."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.periodic import FetchError
from infscale.prometheus.api_answer import AnswerLimits, Unusable, envelope, printable, rows_of, series_of
from tests.prometheus.fake_prometheus import vector

# What would mislead a reader that looks for the ends of elements.
TRICKY = st.sampled_from(['},{"metric":', '},{"', '"result":[', "]}", '"data":[', "\\", '"', "é", "\U0001f600"])
LABELS = st.dictionaries(st.sampled_from(["pod", "namespace", "a"]), st.one_of(TRICKY, st.text(max_size=8)))
MANY = AnswerLimits(max_series=100_000, piece_bytes=100)


def written(document: Any) -> bytes:
    """As Prometheus writes it."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


@given(st.lists(st.tuples(LABELS, st.floats()), max_size=20))
def test_a_vector_is_read_as_it_was_written(rows: list[tuple[dict[str, str], float]]) -> None:
    made = [(labels, str(value)) for labels, value in rows]
    found = rows_of(envelope(written(vector(*made)), MANY)["data"]["result"], 100_000)
    assert [dict(each.labels) for each in found] == [labels for labels, _ in made]
    for row, (_, text) in zip(found, made, strict=True):
        value = float(text)
        assert row.value == value if math.isfinite(value) else math.isnan(row.value)


@given(st.lists(LABELS, max_size=20))
def test_series_are_read_as_they_were_written(labels: list[dict[str, str]]) -> None:
    made = [{"__name__": "x", **each} for each in labels]
    found = series_of(envelope(written({"status": "success", "data": made}), MANY)["data"], 100_000)
    assert [dict(each) for each in found] == made


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(written))
def test_anything_else_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(FetchError, match=r"\w"):
        envelope(body, MANY)


def test_more_series_than_allowed_are_counted_before_they_are_parsed() -> None:
    body = written(vector(*[({"pod": "a"}, "1")] * 50))[:-4] + b"broken"
    with pytest.raises(Unusable, match="about 50 series"):
        envelope(body, AnswerLimits(max_series=40))


def test_words_of_a_server_are_one_short_line() -> None:
    assert printable("a\nb\x1b[31m") == "a b [31m"
    assert len(printable("x" * 10_000)) == 201
