"""A headless Chromium that opens pages and takes pictures of them."""

import contextlib
import shutil
from collections.abc import AsyncGenerator

from playwright.async_api import Page, async_playwright

from dashboards.rendering.page import WIDTH
from infscale.errors import StartError

# Containers have neither the kernel features of its sandbox nor much shared memory; it opens pages of ours alone.
_FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")


def find_chromium() -> str:
    """The path of Chromium; raises `StartError` where there is none."""
    found = shutil.which("chromium")
    if found is None:
        raise StartError("there is no chromium on the PATH; Debian's package chromium has it")
    return found


@contextlib.asynccontextmanager
async def chromium() -> AsyncGenerator[Page]:
    """A page of a Chromium that ends with the block."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=list(_FLAGS))
        try:
            yield await browser.new_page(viewport={"width": WIDTH, "height": 900})
        finally:
            await browser.close()
