"""Tasks beside a block end with it, and their errors are told from the block's own."""

import asyncio

import pytest

from infscale.process.tasks import running


async def for_ever(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("cancelled")


async def failing() -> None:
    raise LookupError("of a task")


async def test_what_runs_beside_a_block_ends_with_it() -> None:
    ended: list[str] = []
    async with running(for_ever(ended), for_ever(ended)):
        await asyncio.sleep(0)
        assert not ended
    assert ended == ["cancelled", "cancelled"]


async def test_the_error_of_a_block_comes_out_as_it_is() -> None:
    ended: list[str] = []

    async def block() -> None:
        async with running(for_ever(ended)):
            await asyncio.sleep(0)
            raise KeyError("of the block")

    with pytest.raises(KeyError, match="of the block"):
        await block()
    assert ended == ["cancelled"]


async def test_a_task_that_fails_ends_the_block() -> None:
    ended: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with running(for_ever(ended), failing()):
            await asyncio.Event().wait()
    assert caught.group_contains(LookupError, match="of a task")
    assert ended == ["cancelled"]


async def test_a_block_that_is_cancelled_is_cancelled() -> None:
    ended: list[str] = []

    async def block() -> None:
        async with running(for_ever(ended)):
            await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(block())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cancelled"]


async def test_what_is_added_to_the_group_is_waited_for() -> None:
    done: list[str] = []

    async def short() -> None:
        await asyncio.sleep(0.01)
        done.append("done")

    async with running() as group:
        group.create_task(short())
    assert done == ["done"]
