"""A load whose rate can be changed while it runs: requests leave when they are due, whatever the answers do."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import aiohttp

from infscale.sim.load.load_generator import POD_HEADER
from lab.system import POOL_HEADER

_TIMEOUT_SECONDS = 120.0
_PROMPT = "Tell me about the sea. " * 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request: times on the loop's clock; `failure` is None for one that was answered whole."""

    sent_at: float
    first_at: float | None
    ended_at: float
    pod: str
    failure: str | None = None


@dataclass(slots=True)
class Load:
    """A load on one pool: `rate` requests per second, each for `tokens` tokens of `model`."""

    session: aiohttp.ClientSession
    url: str
    pool: str
    model: str
    rate: float = 0.0
    tokens: int = 60
    answers: list[Answer] = field(default_factory=list[Answer])
    under_way: int = 0

    @property
    def failures(self) -> list[str]:
        """Why requests failed, if any did."""
        return [answer.failure for answer in self.answers if answer.failure is not None]

    def pods_since(self, at: float) -> set[str]:
        """The pods that answered requests sent after the second `at`."""
        return {answer.pod for answer in self.answers if answer.sent_at >= at and answer.failure is None}

    async def send(self) -> None:
        """Send one request and note what became of it."""
        loop = asyncio.get_running_loop()
        sent, first, pod, failure = loop.time(), None, "", None
        self.under_way += 1
        body = {"model": self.model, "prompt": _PROMPT, "max_tokens": self.tokens, "stream": True}
        limit = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        try:
            async with self.session.post(
                f"{self.url}/v1/completions", json=body, headers={POOL_HEADER: self.pool}, timeout=limit
            ) as response:
                pod = response.headers.get(POD_HEADER, "")
                tail = b""
                async for piece in response.content.iter_any():
                    first = first or loop.time()
                    tail = (tail + piece)[-64:]
                if response.status != 200 or b"[DONE]" not in tail:
                    failure = f"status {response.status}, ended with {tail[-40:]!r}"
        except (aiohttp.ClientError, TimeoutError) as error:
            failure = f"{type(error).__name__}: {error}"
        finally:
            self.under_way -= 1
        self.answers.append(Answer(sent, first, loop.time(), pod, failure))

    async def run(self) -> None:
        """Send at the rate of the moment until cancelled; what is under way then is finished first."""
        due = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as requests:
            with contextlib.suppress(asyncio.CancelledError):
                while True:
                    now = asyncio.get_running_loop().time()
                    if not self.rate:
                        due = now
                    elif due <= now:
                        requests.create_task(self.send())
                        due += 1 / self.rate
                    await asyncio.sleep(0.02 if not self.rate else max(0.0, min(due - now, 0.02)))


@contextlib.asynccontextmanager
async def load_on(url: str, pool: str, model: str, tokens: int = 60) -> AsyncGenerator[Load, None]:
    """A running load, at rest until its rate is set; leaving the block waits for what is under way."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        load = Load(session, url, pool, model, tokens=tokens)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(load.run())
            try:
                yield load
            finally:
                running.cancel()
