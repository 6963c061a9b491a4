"""`python -m bench.step_priors FILE`: fit step models to measurements in closed loops, and write the table of priors.

FILE is a CSV with the columns backend, backend_version, model, gpu, precision, tp_size, moe_ep_size, attention_dp_size,
isl_tokens, osl_tokens, concurrency, ttft_ms and tpot_ms, one row per measurement. It is not a part of the repository.
"""

import argparse
import csv
import io
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from infscale.latency.closed_loop import ClosedLoopPoint, first_token_errors, fitted, left_out_errors
from infscale.latency.known_names import gpu_of
from infscale.latency.priors import FittedPrior, written

MODULE = Path(__file__).parent.parent / "infscale" / "latency" / "prior_rows.py"
_HEAD = '''"""Step models fitted to measurements in closed loops; ``python -m bench.step_priors FILE`` writes them."""

# ruff: noqa: E501 # one line for each row

from typing import Final

TABLE: Final = """
'''
FEWEST_POINTS = 12
FEWEST_CONCURRENCIES = 3

_GROUP = ("backend", "backend_version", "model", "gpu", "precision", "tp_size", "moe_ep_size", "attention_dp_size")


def groups_of(measured: Iterable[Mapping[str, str]]) -> dict[tuple[str, ...], list[ClosedLoopPoint]]:
    """The measurements of each engine, model, GPU and parallelism that has enough of them for a fit."""
    groups: dict[tuple[str, ...], list[ClosedLoopPoint]] = {}
    for row in measured:
        groups.setdefault(tuple(row[name] for name in _GROUP), []).append(_point(row))
    return {
        key: points
        for key, points in sorted(groups.items())
        if len(points) >= FEWEST_POINTS and len({each.concurrency for each in points}) >= FEWEST_CONCURRENCIES
    }


def rows_of(measured: Iterable[Mapping[str, str]]) -> list[FittedPrior]:
    """A row for each group of measurements that has enough of them."""
    return [_fitted(key, points) for key, points in groups_of(measured).items()]


def _point(row: Mapping[str, str]) -> ClosedLoopPoint:
    return ClosedLoopPoint(
        float(row["isl_tokens"]),
        float(row["osl_tokens"]),
        float(row["concurrency"]),
        float(row["ttft_ms"]) / 1e3,
        float(row["tpot_ms"]) / 1e3,
    )


def _fitted(key: tuple[str, ...], points: Sequence[ClosedLoopPoint]) -> FittedPrior:
    engine, version, model, gpu, precision, tensor, expert, data = key
    return FittedPrior(
        engine,
        version,
        model,
        gpu_of(gpu) or gpu,
        precision,
        _count(tensor),
        _count(expert),
        _count(data),
        fitted(points),
        tuple(left_out_errors(points)),
        tuple(first_token_errors(points)),
    )


def _count(text: str) -> int:
    """How many; one where it is not said, or said to be none."""
    return max(1, int(text or "1"))


def text_of(rows: Sequence[FittedPrior]) -> str:
    """The module that has the table."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(written(rows))
    return f'{_HEAD}{out.getvalue()}"""\n'


def main() -> int:
    """Write the table; print what it says of errors."""
    parser = argparse.ArgumentParser(prog="python -m bench.step_priors", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="CSV of measurements")
    try:
        with parser.parse_args().file.open(encoding="utf-8", newline="") as file:
            rows = rows_of(csv.DictReader(file))
    except (OSError, KeyError, ValueError) as error:
        print(f"the measurements cannot be read: {error!r}", file=sys.stderr)
        return 1
    if not rows:
        print("no group of measurements has enough points", file=sys.stderr)
        return 1
    MODULE.write_text(text_of(rows), encoding="utf-8")
    print(f"{len(rows)} groups, {sum(len(row.errors) for row in rows)} points: {MODULE}")
    for name, errors in (
        ("TPOT", [each for row in rows for each in row.errors]),
        ("TTFT", [each for row in rows for each in row.first_token_errors]),
    ):
        tenth = statistics.quantiles(errors, n=10, method="inclusive")
        mean = statistics.fmean(errors)
        print(f"{name} left out: median {statistics.median(errors):.1%}, mean {mean:.1%}, p90 {tenth[-1]:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
