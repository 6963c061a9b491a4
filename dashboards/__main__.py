"""``python -m dashboards`` writes every file that is made of the tables, as ``make dashboards`` does."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from dashboards.alerting.rule_files import prometheus_rule, rule_file
from dashboards.boards import BOARDS
from dashboards.grafana import document

FOLDER = Path(__file__).parent
RUNBOOKS = "docs/runbooks.md"
"""Where alerts say that the runbooks are, unless another address is given: the file of this repository."""


def files(runbooks: str = RUNBOOKS) -> Mapping[Path, str]:
    """Every file by its path within this folder, and its content."""
    boards = {
        Path("json", f"{board.name}.json"): document(board, [other for other in BOARDS if other is not board])
        for board in BOARDS
    }
    return boards | {
        Path("rules", "infscale.yaml"): rule_file(runbooks),
        Path("rules", "prometheusrule.yaml"): prometheus_rule(runbooks),
    }


def main() -> int:
    """Write the files; those of boards that are no more are removed."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description="Write dashboards and rules.")
    parser.add_argument("--runbooks", default=RUNBOOKS, metavar="URL", help="where alerts link to (docs/runbooks.md)")
    made = files(parser.parse_args().runbooks)
    for old in FOLDER.glob("json/*.json"):
        if old.relative_to(FOLDER) not in made:
            old.unlink()
    for path, content in made.items():
        (FOLDER / path).parent.mkdir(exist_ok=True)
        (FOLDER / path).write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
