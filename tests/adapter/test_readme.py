"""The README's tables say what the code does."""

import re
from pathlib import Path

from adapter.errors import ApiError
from infscale.metrics.published import PUBLISHED, Aggregation

README = Path(__file__).parent.parent.parent / "adapter" / "README.md"
WORDS = {
    Aggregation.SUM: "sum",
    Aggregation.MEAN: "mean",
    Aggregation.HIGHEST: "highest",
    Aggregation.MERGED: "merged",
}


def rows(heading: str) -> list[list[str]]:
    section = README.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_metrics_is_the_published_one() -> None:
    expected = [
        [f"`{each.name}`", each.unit, "yes" if each.per_model else "", WORDS[each.aggregation], each.source.value]
        for each in PUBLISHED
    ]
    assert [row[:5] for row in rows("Metrics")] == expected
    assert [row[5] for row in rows("Metrics")] == [each.meaning for each in PUBLISHED]


def test_the_table_of_errors_has_every_refusal() -> None:
    codes = {int(match[0]) for row in rows("Errors") if (match := re.match(r"\d+", row[0]))}
    assert codes == {500, *(each.code for each in ApiError.__subclasses__())}
