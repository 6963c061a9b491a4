"""A demo is decided before anything starts: same options, same traffic; impossible ones are refused in words."""

from pathlib import Path
from typing import Any

import pytest

from infscale.demo.plan import DemoOptions, make_plan
from infscale.errors import ConfigError

REPORT = Path("report.json")


def line(timestamp: int, block: int) -> str:
    blocks = [0, block]
    return f'{{"timestamp": {timestamp}, "input_length": 600, "output_length": 4, "hash_ids": {blocks}}}'


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(line(100 * number, number % 40 + 1) for number in range(400)))
    return path


def test_the_built_in_load_lasts_as_long_and_is_as_much_as_was_asked_for() -> None:
    plan = make_plan(DemoOptions(REPORT, seconds=4.0, rate=5.0, servers=3))
    assert len(plan.requests) == 20
    assert max(request.at_seconds for request in plan.requests) <= 4.0
    assert plan.names == ("server-0", "server-1", "server-2")
    assert plan.workload["requests"] == 20


def test_one_seed_is_one_traffic() -> None:
    first, again, other = (make_plan(DemoOptions(REPORT, seconds=2.0, seed=seed)).requests for seed in (4, 4, 5))
    assert first == again
    assert first != other


def test_without_a_rate_the_load_grows_with_the_servers() -> None:
    few, many = (make_plan(DemoOptions(REPORT, seconds=4.0, servers=count)).requests for count in (2, 4))
    assert len(many) == 2 * len(few)


def test_a_trace_is_thinned_to_the_rate_and_the_report_names_the_subset(trace: Path) -> None:
    plan = make_plan(DemoOptions(REPORT, seconds=4.0, rate=20.0, trace=trace, trace_speed=5.0))
    assert 60 <= len(plan.requests) <= 100
    assert all(0.0 <= request.at_seconds <= 4.0 for request in plan.requests)
    subset = plan.workload["subset"]
    assert isinstance(subset, dict)
    assert subset["requests"] == len(plan.requests)
    assert subset["requests_in_window"] == 200
    assert subset["requests_in_trace"] == 400
    assert plan.workload["trace_speed"] == 5.0
    assert plan.workload["seed"] == 1
    assert "of 200 requests of trace.jsonl" in plan.title


@pytest.mark.parametrize(
    ("bad", "path"),
    [
        ({"seconds": 0.0}, "--seconds"),
        ({"seconds": float("nan")}, "--seconds"),
        ({"seconds": 1e9}, "--seconds"),
        ({"rate": -1.0}, "--rate"),
        ({"servers": 0}, "--servers"),
        ({"servers": 1000}, "--servers"),
        ({"trace_speed": 0.0}, "--trace-speed"),
    ],
)
def test_impossible_numbers_are_refused_by_name(bad: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        DemoOptions(REPORT, **bad)
    assert refused.value.path == path


def test_a_missing_trace_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-file: cannot read the trace: No such file"):
        make_plan(DemoOptions(REPORT, trace=tmp_path / "no-such-file"))


def test_a_trace_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8 text: byte 1"):
        make_plan(DemoOptions(REPORT, trace=path))


def test_a_window_without_requests_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(line(0, 1))
    with pytest.raises(ConfigError, match=r"raise --rate"):
        make_plan(DemoOptions(REPORT, seconds=1.0, rate=0.1, trace=path))
