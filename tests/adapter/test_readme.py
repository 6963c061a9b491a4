"""The README's tables say what the code does."""

import re

from adapter.errors import ApiError
from infscale.metrics.published.catalogue import PUBLISHED, Aggregation
from tests.adapter.support import rows

WORDS = {
    Aggregation.SUM: "sum",
    Aggregation.MEAN: "mean",
    Aggregation.HIGHEST: "highest",
    Aggregation.MERGED: "merged",
}


def test_the_table_of_metrics_is_the_published_one() -> None:
    expected = [
        [f"`{each.name}`", each.unit, "yes" if each.per_model else "", WORDS[each.aggregation], each.source.name]
        for each in PUBLISHED
    ]
    assert [row[:5] for row in rows("Metrics")] == expected
    assert [row[5] for row in rows("Metrics")] == [each.meaning for each in PUBLISHED]


def test_the_table_of_errors_has_every_refusal() -> None:
    codes = {int(match[0]) for row in rows("Errors") if (match := re.match(r"\d+", row[0]))}
    assert codes == {500, *(each.code for each in ApiError.__subclasses__())}
