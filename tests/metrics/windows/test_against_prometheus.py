"""Quantiles are what Prometheus itself gives for the same buckets, by its own rule tests."""

import math
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from infscale.metrics.windows import merged_histograms

END = 60
QUANTILES = (0.05, 0.5, 0.9, 0.99, 1.0)
SERIES = 40

pytestmark = pytest.mark.prometheus


def case(expression: str, ours: float | None) -> dict[str, object]:
    """A promtool test that holds when Prometheus' value of `expression` is ours; None: it has no value."""
    holds = f"absent({expression})" if ours is None else f"abs(({expression}) - {ours!r}) <= bool {abs(ours) * 1e-9!r}"
    if ours is not None and math.isnan(ours):
        holds = f"({expression}) != bool ({expression})"
    return {
        "expr": f"sum({holds})",
        "eval_time": f"{END}s",
        "exp_samples": [{"labels": "{}", "value": 1}],
    }


def buckets(rng: random.Random) -> tuple[tuple[float, ...], list[float]]:
    bounds = rng.choice([(0.3, 0.5, 0.8, 1.0, 60.0), (1.0,), (-2.0, 0.0, 3.0), (0.0, 1.0)])
    steps = [rng.choice([0.0, 0.0, 1.0, 7.0, 1000.0]) for _ in range(len(bounds) + 1)]
    return (*bounds, math.inf), np.cumsum(steps).tolist()


def run(folder: Path, series: list[dict[str, str]], cases: list[dict[str, object]]) -> str:
    """What promtool says when not every case holds."""
    document = {"rule_files": [], "tests": [{"interval": "1s", "input_series": series, "promql_expr_test": cases}]}
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump(document))
    command = ["promtool", "test", "rules", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=15)
    assert done.returncode in {0, 1}, done.stderr
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_quantiles_are_those_of_prometheus(tmp_path: Path) -> None:
    rng = random.Random(8)
    series: list[dict[str, str]] = []
    cases: list[dict[str, object]] = []
    for number in range(SERIES):
        bounds, counts = buckets(rng)
        for bound, count in zip(bounds, counts, strict=True):
            le = "+Inf" if math.isinf(bound) else repr(bound)
            series.append({"series": f'x_bucket{{n="{number}",le="{le}"}}', "values": f"{count!r}x{END}"})
        for q in QUANTILES:
            ours = merged_histograms.histogram_quantile(q, bounds, counts)
            cases.append(case(f'histogram_quantile({q}, x_bucket{{n="{number}"}})', ours))
    assert run(tmp_path, series, cases) == ""


def test_a_wrong_value_is_found(tmp_path: Path) -> None:
    wrong = [case("avg_over_time(x[5s])", 2.0), case("rate(x[5s])", None)]
    said = run(tmp_path, [{"series": "x", "values": f"1+0x{END}"}], wrong)
    assert said.count("exp:") == 2
