"""What a benchmark measures, and how it is told."""

import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from picker.ext_proc import exchange

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; `budget` is the most it may be, None where there is none."""

    name: str
    value: float
    unit: str
    budget: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the budget holds."""
        if self.budget is None:
            return ""
        return "ok" if self.value <= self.budget else f"over by {self.value / self.budget - 1:.0%}"


def cpu_microseconds(work: Callable[[], object], repeats: int) -> float:
    """CPU time of one call: the median over rounds, so that a disturbed round does not count."""
    work()
    rounds: list[float] = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(repeats):
            work()
        rounds.append((time.process_time() - started) / repeats * 1e6)
    return statistics.median(rounds)


_PAGE = b"\n".join(b'engine:some_metric_bucket{le="%d",model_name="m",engine="0"} %d.0' % (n, n) for n in range(1500))
_EXPRESSION = re.compile(rb"\n[ \t]*+((?:engine:none|engine:other)(?![a-zA-Z0-9_:])[^\n]*)")


def machine() -> Row:
    """How long this machine takes now for work that never changes: calls, arithmetic and an expression over a page.

    Budgets are absolute, and shared machines are not: compare figures of two runs by this row.
    """

    def work() -> int:
        found = _EXPRESSION.findall(_PAGE)
        total = len(found)
        for number in range(2_000):
            total += max(number, total) & 7
        return total

    return Row("this machine: a fixed piece of work", cpu_microseconds(work, 50), "µs CPU")


def form() -> str:
    """Whether the picker's request path runs compiled: figures of the two forms are not to be compared."""
    return "compiled" if Path(exchange.__file__).suffix == ".so" else "Python"


def table(rows: Sequence[Row]) -> str:
    """The rows for a terminal."""
    lines = [f"The picker's request path as {form()}", f"{'benchmark':<88} {'value':>10} {'unit':<14} {'budget':>8}"]
    for row in rows:
        budget = "" if row.budget is None else f"{row.budget:g}"
        lines.append(f"{row.name:<88} {row.value:>10.2f} {row.unit:<14} {budget:>8} {row.verdict}")
    return "\n".join(lines)


def write(rows: Sequence[Row], path: Path) -> None:
    """The rows as JSON, one object each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    documents = [
        {"name": row.name, "value": round(row.value, 2), "unit": row.unit, "budget": row.budget, "form": form()}
        for row in rows
    ]
    path.write_bytes(orjson.dumps(documents, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
