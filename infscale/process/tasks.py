"""Tasks that run beside a block of code, and end with it."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def running(*runs: Coroutine[Any, Any, None]) -> AsyncGenerator[asyncio.TaskGroup, None]:
    """Run coroutines while the block runs; at its end they are cancelled. Gives the group, to which more may be added.

    Tasks that are added to the group are waited for and not cancelled. A task that fails cancels the block, which then
    raises an ExceptionGroup; the block's own error comes out as it is, and not in a group.
    """
    group = asyncio.TaskGroup()
    await group.__aenter__()
    started = [group.create_task(run) for run in runs]
    try:
        yield group
    finally:
        for task in started:
            task.cancel()
        # Left without the block's own error, which the group would wrap.
        await group.__aexit__(None, None, None)
