"""An APIService that another writes to is restored a few times, then left, then tried again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapter.registering.overwriting import MOST_RESTORED, WITHIN, Overwriting, told, writer

NOW = datetime(2026, 8, 20, 10, tzinfo=UTC)


def test_what_was_there_before_infscale_is_no_overwriting() -> None:
    overwriting = Overwriting()
    assert not overwriting.is_another_s("a", "old")
    overwriting.is_right("a", "ours")
    assert not overwriting.is_another_s("a", "ours")
    assert overwriting.is_another_s("a", "theirs")
    assert overwriting.is_another_s("a", None)
    assert not overwriting.is_another_s("b", "theirs")


def test_restoring_has_a_limit_for_each_and_begins_again() -> None:
    overwriting = Overwriting()
    step = timedelta(seconds=5)
    assert [overwriting.may_restore("a", NOW + step * n) for n in range(5)] == [True] * MOST_RESTORED + [False] * 2
    assert overwriting.may_restore("b", NOW)
    assert overwriting.may_restore("a", NOW + WITHIN)
    assert not overwriting.may_restore("a", NOW + WITHIN)


@pytest.mark.parametrize(
    "metadata", [None, {}, {"managedFields": None}, {"managedFields": [{}, {"manager": "x", "fieldsV1": None}]}]
)
def test_who_wrote_is_told_where_it_is_known(metadata: dict[str, Any] | None) -> None:
    assert writer({"metadata": metadata}) is None
    assert told("a", {"metadata": metadata}, restored=True).startswith("another wrote its CA into APIService a")
