"""``python -m tests.dashboards.pictures`` renews the pictures of docs/dashboards.md: two minutes of the scene."""

import asyncio
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from dashboards.rendering.__main__ import span_of, write
from tests.dashboards.scene import scene

PICTURES = Path(__file__).parents[2] / "docs" / "img"
_SECONDS = 120.0
_COLOURS = 64


async def _renew() -> None:
    with tempfile.TemporaryDirectory(prefix="infscale-pictures-") as name:
        folder = Path(name)
        async with scene(folder) as running:
            await running.under_load(_SECONDS)
            span = span_of(datetime.now(UTC).timestamp(), _SECONDS, 1.0)
            for picture in await write(running.prometheus, folder, span, {}):
                # Some dozens of colours are all that charts have; as they are, pictures are twice as large.
                with Image.open(picture) as whole:
                    whole.convert("RGB").quantize(_COLOURS).save(PICTURES / picture.name, optimize=True)


if __name__ == "__main__":
    asyncio.run(_renew())
