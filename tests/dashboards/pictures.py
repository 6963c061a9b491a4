"""``python -m tests.dashboards.pictures`` renews the pictures of docs/dashboards.md: two minutes of the scene."""

import asyncio
import tempfile
from pathlib import Path

from PIL import Image

from dashboards.rendering.__main__ import span_of, write
from tests.dashboards.scene import scene

PICTURES = Path(__file__).parents[2] / "docs" / "img"
_SECONDS = 120.0


async def _renew() -> None:
    with tempfile.TemporaryDirectory(prefix="infscale-pictures-") as name:
        folder = Path(name)
        async with scene(folder) as running:
            span = span_of(await running.under_load(_SECONDS), _SECONDS, 1.0)
            for picture in await write(running.prometheus, folder, span, {}):
                # Charts have few colours; as they are, pictures are twice as large.
                with Image.open(picture) as whole:
                    whole.convert("RGB").quantize(256).save(PICTURES / picture.name, optimize=True)


if __name__ == "__main__":
    asyncio.run(_renew())
