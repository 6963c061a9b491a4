"""`python -m bench`: measure, print, write."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from bench.adapter import answers
from bench.against import against_rows, problem
from bench.cluster import cluster_rows
from bench.gateway import gateway_rows
from bench.memory import exchanges, interpretation, learning, longest_hold, placing, scheduling
from bench.open_loop import open_loop_rows
from bench.room import room_rows
from bench.rows import Row, machine, table, write
from bench.simulated_engines import engine_rows
from bench.waiting import waiting
from lab.controlplane import tools_problem


def _memory() -> list[Row]:
    return list(chain(interpretation(), learning(), scheduling(), placing(), exchanges(), longest_hold(), answers()))


def _gateway() -> list[Row]:
    return asyncio.run(gateway_rows())


def _room() -> list[Row]:
    return asyncio.run(room_rows())


def _open_loop() -> list[Row]:
    return asyncio.run(open_loop_rows())


def _cluster() -> list[Row]:
    problem = tools_problem()
    if problem is not None:
        print(f"The adapter on a real API server is left out: {problem}", file=sys.stderr)
        return []
    return asyncio.run(cluster_rows())


def _against() -> list[Row]:
    missing = problem()
    if missing is not None:
        print(f"The comparison with another version is left out: {missing}", file=sys.stderr)
        return []
    return asyncio.run(against_rows())


_PARTS: dict[str, Callable[[], list[Row]]] = {
    "memory": _memory,
    "waiting": lambda: list(waiting()),
    "engines": lambda: list(engine_rows()),
    "gateway": _gateway,
    "room": _room,
    "open-loop": _open_loop,
    "cluster": _cluster,
    "against": _against,
}


def main() -> None:
    """Run every benchmark; what a part lacks is said, and its rows are left out."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure the budgets of the design.")
    parser.add_argument("--out", type=Path, default=Path("out/bench.json"), help="where the JSON rows go")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(_PARTS)}; all unless given")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(_PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(_PARTS)}")
    rows: list[Row] = []
    for name in arguments.parts or _PARTS:
        # Before each part, because a shared machine is not the same from minute to minute.
        rows += [machine(), *_PARTS[name]()]
    print(table(rows))
    short = [row.name for row in rows if row.verdict.startswith("over")]
    print("\nOver budget: " + ("; ".join(short) if short else "nothing"))
    write(rows, arguments.out)
    print(f"Rows written to {arguments.out}")


if __name__ == "__main__":
    main()
