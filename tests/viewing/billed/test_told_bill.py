"""A bill as another process tells it: summed up, as a table, and in OpenCost's form."""

from typing import Any

import pytest

from infscale.viewing.billed.allocations import IDLE, UNALLOCATED, WASTED, allocations
from infscale.viewing.billed.bill_table import bill_lines
from infscale.viewing.billed.told_bill import summed, told_pools
from infscale.viewing.document_parts import DocumentError

ROWS = [
    {"tenant": "a", "model": "m", "adapter": "", "priority": 0, "used": 1800.0, "evicted": 100.0, "aborted": 50.0},
    {"tenant": "b", "model": "m", "adapter": "l", "priority": -10, "used": 900.0, "failed": 0.0},
    {"tenant": "a", "model": "n\x1b[2J", "adapter": "", "priority": 0, "used": 10.0},
]
BILL: dict[str, Any] = {
    "pools": [
        {
            "pool": "default/chat",
            "start": "2026-12-01T10:00:00+00:00",
            "end": "2026-12-01T11:00:00+00:00",
            "gpu_seconds": 7200.0,
            "idle": 4300.0,
            "recomputed": 40.0,
            "ready_gpus": 2.0,
            "endpoints_counted_as_one_gpu": 2,
            "rows": ROWS,
        }
    ]
}


def test_rows_are_summed_by_what_is_asked_for_the_largest_first() -> None:
    pools = told_pools(BILL)
    by_tenant = summed(pools, ["tenant"])
    assert [(names, sums.seconds) for names, sums in by_tenant.items()] == [(("a",), 1960.0), (("b",), 900.0)]
    assert list(summed(pools, ["priority", "adapter"])) == [("0", ""), ("-10", "l")]
    assert told_pools(BILL, "default/other") == ()


def test_the_table_adds_up_and_shows_no_controls_of_terminals() -> None:
    lines = list(bill_lines(told_pools(BILL), ["tenant", "model"], 3.6))
    text = "\n".join(lines)
    assert lines[0] == "default/chat, from 2026-12-01T10:00:00+00:00 to 2026-12-01T11:00:00+00:00"
    assert lines[2].split() == ["tenant", "model", "used", "evicted", "aborted", "failed", "GPU-s", "share", "cost"]
    assert lines[3].split() == ["a", "m", "1,800.0", "100.0", "50.0", "0.0", "1,950.0", "27.1%", "1.95"]
    assert lines[-3].split() == ["together", "7,200.0", "100.0%", "7.20"]
    assert "\x1b" not in text
    assert lines[-1].startswith("2 endpoints are counted as one GPU each")


def test_allocations_have_the_names_and_units_of_opencost_and_add_up() -> None:
    answer = allocations(told_pools(BILL), ["tenant"], 2.0)
    assert answer["code"] == 200
    (named,) = answer["data"]  # type: ignore[misc, attr-defined]
    assert list(named) == ["a", "b", WASTED, IDLE]  # type: ignore[has-type]
    first = named["a"]  # type: ignore[has-type]
    assert first["name"] == "a"
    assert first["properties"] == {"labels": {"tenant": "a"}}
    assert first["window"] == {"start": first["start"], "end": first["end"]}
    assert (first["minutes"], first["gpuHours"], first["gpuCost"], first["totalCost"]) == (
        60.0,
        pytest.approx(1810 / 3600),
        pytest.approx(1810 / 1800),
        pytest.approx(1810 / 1800),
    )
    assert first["gpuCount"] == pytest.approx(1810 / 3600)
    assert first["cpuCost"] is None, "it is not known"
    assert sum(each["gpuHours"] for each in named.values()) == pytest.approx(2.0, abs=1e-9)  # type: ignore[has-type]


def test_without_a_price_there_is_no_cost_and_what_has_no_name_is_unallocated() -> None:
    answer: Any = allocations(told_pools(BILL), ["adapter"], None)
    (named,) = answer["data"]
    assert named[UNALLOCATED]["gpuCost"] is None
    assert named[UNALLOCATED]["properties"] == {"labels": {}}
    assert named["l"]["properties"] == {"labels": {"adapter": "l"}}


@pytest.mark.parametrize("document", [None, [], {"pools": {}}, {"pools": [{"rows": [{"used": "x"}]}]}])
def test_what_is_no_bill_is_refused(document: object) -> None:
    with pytest.raises(DocumentError):
        told_pools(document)
