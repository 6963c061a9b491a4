"""``python -m dashboards.rendering PROMETHEUS FOLDER`` writes every board as a page and a picture."""

import argparse
import asyncio
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from dashboards.rendering.answers import Prometheus, Span
from dashboards.rendering.board_files import read_board
from dashboards.rendering.browser import chromium
from dashboards.rendering.page import page
from infscale.errors import InfscaleError

JSON = Path(__file__).parents[1] / "json"
_POINTS = 240


def span_of(end: float, seconds: float, scrape_seconds: float) -> Span:
    """The last `seconds` before `end`, with rates over what Grafana takes: at least four scrapes."""
    step = max(scrape_seconds, seconds / _POINTS)
    return Span(end - seconds, end, step, f"{max(4 * scrape_seconds, step + scrape_seconds):.0f}s")


async def write(prometheus: str, folder: Path, span: Span, chosen: Mapping[str, str]) -> list[Path]:
    """Write the boards' pages and pictures into `folder`; gives the pictures. Raises `InfscaleError`."""
    pictures: list[Path] = []
    async with aiohttp.ClientSession() as session, chromium() as opened:
        for file in sorted(JSON.glob("*.json")):
            board = read_board(file)
            found = await Prometheus(session, prometheus).board(board, span, chosen)
            html = folder / f"dashboards-{file.stem}.html"
            await asyncio.to_thread(html.write_text, page(board, found, span))
            await opened.goto(html.resolve().as_uri())
            pictures.append(html.with_suffix(".png"))
            await opened.screenshot(path=pictures[-1], full_page=True)
    return pictures


def main() -> int:
    """Write them; 1 where Prometheus or Chromium does not do its part."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.rendering", description="Boards as pages and pictures.")
    parser.add_argument("prometheus", help="its URL")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=3600.0, help="how far back (3600)")
    parser.add_argument("--scrape-seconds", type=float, default=15.0, help="Prometheus' scrape interval (15)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="VARIABLE=REGEX", help="chooses, such as pool=a/b"
    )
    arguments = parser.parse_args()
    chosen = dict(each.split("=", 1) for each in arguments.set)
    span = span_of(datetime.now(UTC).timestamp(), arguments.seconds, arguments.scrape_seconds)
    try:
        for picture in asyncio.run(write(arguments.prometheus, arguments.folder, span, chosen)):
            sys.stdout.write(f"{picture}\n")
    except InfscaleError as error:
        sys.stderr.write(f"dashboards.rendering: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
