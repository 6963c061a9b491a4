"""``infscale import prometheus-adapter FILE``: what becomes of each rule of a prometheus-adapter.

FILE is its configuration or the ConfigMap that holds one; both are taken unchanged by ``prometheus.adapter_rules``.
Exit codes: 0 every rule is taken, 1 some are not (resource rules are metrics-server's), 2 the file cannot be used.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from infscale.config.read import read_text
from infscale.prometheus.rules.rules_file import RulesFile, parse_rules
from infscale.prometheus.rules.rules_report import RuleFate, fates

_HEAD: Final = ("rule", "line", "metric", "answered from")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = "Reads the configuration of another program and says what becomes of each part of it."
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="WHAT")
    rules = kinds.add_parser(
        "prometheus-adapter",
        help="rules, externalRules and resourceRules",
        description="Says what becomes of each rule of a prometheus-adapter; the file itself is used unchanged.",
    )
    rules.add_argument("file", type=Path, metavar="FILE", help="its configuration, or the ConfigMap that holds one")
    rules.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what becomes of the rules. Raises `ConfigError` with everything that is wrong with the file."""
    path: Path = arguments.file
    rules = parse_rules(read_text(path), str(path))
    for line in report(rules, path):
        print(line)
    return 1 if rules.resource_rules else 0


def report(rules: RulesFile, path: Path) -> Iterator[str]:
    """The lines of the report."""
    found = fates(rules)
    rows = [_HEAD, *((each.rule, each.place.rpartition(":")[2], each.metric, each.answered_from) for each in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    notes = [f"  {each.rule} (line {each.place.rpartition(':')[2]}): {note}" for each in found for note in each.notes]
    if notes:
        yield ""
        yield f"Notes ({len(notes)})"
        yield from notes
    yield ""
    yield _conclusion(rules, found)
    yield ""
    yield from _how(path)


def _conclusion(rules: RulesFile, found: Sequence[RuleFate]) -> str:
    taken = len(rules.all)
    left = len(found) - taken
    rest = "" if not left else f" {left} of the resource metrics {'is' if left == 1 else 'are'} not: see the notes."
    return f"{taken} {'rule is' if taken == 1 else 'rules are'} taken unchanged.{rest}"


def _how(path: Path) -> Sequence[str]:
    return (
        "In the configuration of infscale:",
        "",
        "  prometheus:",
        "    servers:",
        "      main: {url: http://prometheus.monitoring:9090}",
        f"    adapter_rules: {path}",
    )
