"""The parts of docs/architecture.md that the code says; ``python -m tests.docs.architecture`` renews them.

Layers are those of the import contract, files and packages say themselves what they are for.
"""

import ast
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("infscale", "adapter", "picker")

WAYS: Mapping[str, tuple[str, ...]] = {
    "A request": (
        "picker/transport/server/gateway_connection.py",
        "picker/transport/h2/connection.py",
        "picker/transport/server/calls.py",
        "picker/transport/server/exchange_call.py",
        "picker/ext_proc/wire_codec.py",
        "picker/ext_proc/exchange.py",
        "picker/parsing/table.py",
        "picker/parsing/framed.py",
        "picker/parsing/body.py",
        "picker/directing/pool_directors.py",
        "picker/directing/director.py",
        "picker/directing/gates.py",
        "infscale/metrics/snapshot.py",
        "picker/scheduling/scheduler.py",
        "picker/scheduling/profile.py",
        "picker/directing/dispatches.py",
        "picker/ext_proc/replies.py",
        "picker/response/visible_body.py",
    ),
    "A scrape": (
        "infscale/discovery/file.py",
        "infscale/kube/discovery.py",
        "infscale/serving/collecting.py",
        "infscale/scrape/target.py",
        "infscale/scrape/processes.py",
        "infscale/scrape/worker.py",
        "infscale/scrape/pool.py",
        "infscale/scrape/loop.py",
        "infscale/scrape/fetch.py",
        "infscale/scrape/answer.py",
        "infscale/metrics/pages/page_lines.py",
        "infscale/metrics/pages/exposition.py",
        "infscale/metrics/pages/dialects.py",
        "infscale/metrics/pages/interpreter.py",
        "infscale/metrics/pages/interpretation.py",
        "infscale/metrics/sample.py",
        "infscale/scrape/pipe.py",
        "infscale/metrics/store/metrics_store.py",
        "infscale/metrics/store/endpoint_record.py",
        "infscale/metrics/store/history.py",
        "infscale/metrics/store/pool_columns.py",
        "infscale/metrics/snapshot.py",
    ),
    "An HPA's question": (
        "adapter/server/listener.py",
        "adapter/server/http_connection.py",
        "adapter/server/app.py",
        "adapter/api/paths.py",
        "adapter/access/request_access.py",
        "adapter/answering/responder.py",
        "adapter/api/negotiation.py",
        "adapter/answering/store_provider.py",
        "infscale/aggregation/across_pools.py",
        "infscale/metrics/snapshot.py",
        "infscale/metrics/published/answers.py",
        "infscale/metrics/published/column_readers.py",
        "adapter/answering/metric_lists.py",
        "adapter/api/forms.py",
    ),
}
"""The files that each passes, in order."""


def meaning(module: Path) -> str:
    """The first sentence of a module's docstring, without its full stop."""
    words = " ".join((ast.get_docstring(ast.parse(module.read_text())) or "").partition("\n\n")[0].split())
    return words.partition(". ")[0].removesuffix(".")


def layers() -> str:
    """The layers of all packages, the upper ones standing on the lower."""
    contracts: list[Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    lines = [" | ".join(f" {each.strip()} " for each in layer.split("|")) for layer in contracts[0]["layers"]]
    width = max(map(len, lines))
    border = "+" + "-" * (width + 2) + "+"
    return "\n".join(["```text", border, *(f"| {line:^{width}} |\n{border}" for line in lines), "```"])


def way(name: str) -> str:
    """The files of a way, in order, and what each does."""
    rows = [f"{place}. `{path}`: {meaning(ROOT / path)}" for place, path in enumerate(WAYS[name], 1)]
    return "\n".join(rows)


def _packages() -> Iterator[tuple[str, Path]]:
    for top in PACKAGES:
        for module in sorted((ROOT / top).rglob("__init__.py")):
            yield str(module.parent.relative_to(ROOT)).replace("/", "."), module


def packages() -> str:
    """What belongs in each package."""
    return "\n".join(
        ["| package | what belongs in it |", "|---|---|", *(f"| `{a}` | {meaning(b)} |" for a, b in _packages())]
    )


def renewed(page: str) -> str:
    """The page with everything that the code says as it is now: a section's last paragraph, table or drawing."""
    made = {"Layers": layers(), **{name: way(name) for name in WAYS}, "Packages": packages()}
    for section, content in made.items():
        head, title, rest = page.partition(f"## {section}\n")
        own, following, others = rest.partition("\n## ")
        words = own.strip("\n").split("\n\n", 1)[0]
        page = f"{head}{title}\n{words}\n\n{content}\n{following}{others}"
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
