"""What flow control and records of picks cost a request that need not wait."""

from bench.rows import Row
from bench.side_by_side import Side, backends, request_rows

_PRESET = {"preset": "infscale"}
_SIDES = (
    Side(
        "without flow control and records",
        picker={**_PRESET, "flow_control": {"enabled": False}, "explain": {"picks": 0}},
    ),
    Side("with both", picker=_PRESET),
)


async def room_rows() -> list[Row]:
    """Rows of both, and their ratios."""
    async with backends() as ports:
        return await request_rows(_SIDES, ports)
