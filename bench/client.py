"""A child process: a closed loop of completion requests; prints how many were answered and how many failed.

`python -m bench.client URL BODY_BYTES REQUESTS CONNECTIONS STREAM SEED`; STREAM is 1 for streamed answers, else 0.
Prompts of different seeds have nothing in common.
"""

import asyncio
import random
import sys
from collections.abc import Iterator

import aiohttp
import orjson
import uvloop

from bench.memory import prompts
from infscale.process.parents import die_with_parent


async def _main(url: str, size: int, requests: int, connections: int, stream: int, seed: int) -> None:
    texts = prompts(size, min(requests, 4_000) // 8 * 8, random.Random(seed))
    fixed = {"model": "Qwen/Qwen3-32B", "max_tokens": 16, "stream": bool(stream)}
    bodies = [orjson.dumps({**fixed, "prompt": text.decode()}) for text in texts]
    turns = iter([bodies[number % len(bodies)] for number in range(requests)])
    counts = {"answered": 0, "failed": 0}

    async def worker(session: aiohttp.ClientSession, turns: Iterator[bytes]) -> None:
        for body in turns:
            async with session.post(url, data=body, headers={"content-type": "application/json"}) as response:
                await response.read()
                counts["answered" if response.status == 200 else "failed"] += 1

    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(worker(session, turns))
    sys.stdout.buffer.write(orjson.dumps(counts) + b"\n")


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(_main(sys.argv[1], *map(int, sys.argv[2:])))
