"""`python -m bench`: measure, print, write."""

import argparse
import asyncio
from itertools import chain
from pathlib import Path

from bench.adapter import answers
from bench.gateway import gateway_rows
from bench.memory import exchanges, interpretation, scheduling
from bench.rows import Row, table, write


def main() -> None:
    """Run every benchmark; `--no-envoy` leaves out the slow ones."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure the budgets of the design.")
    parser.add_argument("--out", type=Path, default=Path("out/bench.json"), help="where the JSON rows go")
    parser.add_argument("--no-envoy", action="store_true", help="only what runs in one process")
    arguments = parser.parse_args()
    rows: list[Row] = list(chain(interpretation(), scheduling(), exchanges(), answers()))
    if not arguments.no_envoy:
        rows += asyncio.run(gateway_rows())
    print(table(rows))
    short = [row.name for row in rows if row.verdict.startswith("over")]
    print("\nOver budget: " + ("; ".join(short) if short else "nothing"))
    write(rows, arguments.out)
    print(f"Rows written to {arguments.out}")


if __name__ == "__main__":
    main()
