"""Asks a Prometheus for what panels show."""

import asyncio
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from dashboards.rendering.board_files import ShownBoard, ShownPanel, filled_in
from infscale.errors import InfscaleError

_ASK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is drawn: Unix seconds, with a point each `step` seconds. `rate_interval` is that of rates."""

    start: float
    end: float
    step: float
    rate_interval: str


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its name in the legend, and its points. Where nothing is known there is no point."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus at `url`."""

    session: aiohttp.ClientSession
    url: str

    async def board(
        self, board: ShownBoard, span: Span, chosen: Mapping[str, str]
    ) -> Mapping[ShownPanel, tuple[Series, ...]]:
        """The series of all panels; raises `InfscaleError` for a query that it does not answer."""
        found = await asyncio.gather(*(self.panel(panel, span, chosen) for panel in board.panels))
        return dict(zip(board.panels, found, strict=True))

    async def panel(self, panel: ShownPanel, span: Span, chosen: Mapping[str, str]) -> tuple[Series, ...]:
        """The series of a panel."""
        found: list[Series] = []
        for expr, legend in panel.queries:
            found += await self._series(filled_in(expr, chosen, span.rate_interval), legend, span)
        return tuple(found)

    async def _series(self, query: str, legend: str, span: Span) -> list[Series]:
        asked = {"query": query, "start": f"{span.start}", "end": f"{span.end}", "step": f"{span.step}"}
        limit = aiohttp.ClientTimeout(total=_ASK_SECONDS)
        try:
            async with self.session.get(f"{self.url}/api/v1/query_range", params=asked, timeout=limit) as response:
                document = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise InfscaleError(f"{self.url} does not answer: {str(error) or 'timeout'}") from None
        if document.get("status") != "success":
            raise InfscaleError(f"{self.url} refuses {query}: {document.get('error')}")
        return [Series(_name(legend, each["metric"]), _points(each["values"])) for each in document["data"]["result"]]


def _name(legend: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found.group(1), ""), legend).strip()


def _points(values: list[tuple[float, str]]) -> tuple[tuple[float, float], ...]:
    read = ((float(at), float(value)) for at, value in values)
    return tuple((at, value) for at, value in read if math.isfinite(value))
