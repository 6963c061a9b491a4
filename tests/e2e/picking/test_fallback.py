"""Another pool or model through a real Envoy: empty and dead pools cost nothing, and waits end with the deadline."""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from infscale.cli.main import main
from infscale.demo.child_processes import free_ports
from infscale.endpoint import ObjectKey
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy
from infscale.metrics.snapshot import PoolSnapshot
from infscale.serving.composition import Serving, serving
from infscale.sim.http.simulated_servers import SimFleet, SimServer
from infscale.sim.settings import Fault, FaultKind
from tests.e2e.gateway import serve_config
from tests.e2e.picking.test_flow_control import SLOW
from tests.sim.simulated import MODEL, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(90)]

POOLS = ("chat", "standby", "small")
TINY = "test/tiny"
REFERENCE = """
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
featureGates: [flowControl]
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
"""
WAITS: Mapping[str, Mapping[str, object]] = {
    "own": {},
    "off": {"flow_control": {"enabled": False}},
    "reference": {"config_file": "epp.yaml"},
}
TO_BOTH = [
    {"pool": "default/standby", "max_requests": 1_000},
    {"pool": "default/small", "model": TINY},
]


@dataclass
class Answers:
    """What came back: statuses, the pods that answered, and what the header said."""

    statuses: Counter[int] = field(default_factory=Counter[int])
    pods: Counter[str] = field(default_factory=Counter[str])
    told: Counter[str] = field(default_factory=Counter[str])
    failed_at: list[float] = field(default_factory=list[float])
    documents: list[Any] = field(default_factory=list[Any])


@dataclass
class Pools:
    """Servers of three pools behind one Envoy that knows them all."""

    folder: Path
    fleet: SimFleet
    running: Serving
    session: aiohttp.ClientSession
    url: str

    @property
    def snapshot(self) -> PoolSnapshot:
        """The pool that requests are for."""
        found = self.running.store.snapshot(ObjectKey("default", "chat"))
        assert found is not None
        return found

    def server(self, name: str) -> SimServer:
        found = self.fleet.find(name)
        assert found is not None
        return found

    async def have(self, *names: str) -> None:
        """Have these servers alone for endpoints, and wait until they may be picked."""
        document = discovery(self.fleet, names)
        await asyncio.to_thread((self.folder / "discovery.yaml").write_text, yaml.safe_dump(document))
        for pool in POOLS:
            wanted = sum(name.startswith(pool) for name in names)
            while (snapshot := self.running.store.snapshot(ObjectKey("default", pool))) is None or (
                len(snapshot) != wanted or int(snapshot.eligible(asyncio.get_running_loop().time()).sum()) != wanted
            ):
                await asyncio.sleep(0.02)

    async def ask(self, into: Answers, words: int = 20, tokens: int = 4, **headers: str) -> None:
        body = {"model": MODEL, "prompt": f"{random.random()} " + "word " * words, "max_tokens": tokens}  # noqa: TID251 # a prompt
        try:
            async with self.session.post(f"{self.url}/v1/completions", json=body, headers=headers) as answer:
                text = await answer.text()
                into.statuses[answer.status] += 1
                if answer.status == 200:
                    into.documents.append(json.loads(text))
                    into.pods[answer.headers["x-inference-pod"]] += 1
                else:
                    into.failed_at.append(time.monotonic())
                into.told[answer.headers.get("x-infscale-fallback", "")] += 1
        except aiohttp.ClientError:
            into.statuses[0] += 1
            into.failed_at.append(time.monotonic())

    async def asks(self, count: int, words: int = 20) -> Answers:
        answers = Answers()
        await asyncio.gather(*(self.ask(answers, words) for _ in range(count)))
        return answers

    async def page(self, name: str) -> float:
        async with self.session.get(f"{self.running.telemetry.url}/metrics") as response:
            lines = (await response.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + "{"))


def discovery(fleet: SimFleet, names: tuple[str, ...]) -> dict[str, Any]:
    endpoints = [
        {**each, "labels": {"pool": each["name"].partition("-")[0]}}
        for each in fleet.discovery_document()["endpoints"]
        if each["name"] in names
    ]
    objects = [
        {
            "apiVersion": "inference.networking.k8s.io/v1",
            "kind": "InferencePool",
            "metadata": {"name": pool, "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": {"pool": pool}},
                "targetPorts": [{"number": 8000}],
                "endpointPickerRef": {"name": "epp", "port": {"number": 9002}},
            },
        }
        for pool in POOLS
    ]
    return {"endpoints": endpoints, "objects": objects}


@contextlib.asynccontextmanager
async def pools(folder: Path, fallback: object, **picker: object) -> AsyncGenerator[Pools]:
    """Two servers of `chat`, two of `standby`, one of another model in `small`."""
    slow = bool(picker.pop("slow", False))
    usual, blocks = ({"coefficients": SLOW}, 512) if slow else ({}, 4_096)
    settings = [
        *(quick_settings(f"chat-{row}", {"num_blocks": blocks}, **usual) for row in range(2)),
        *(quick_settings(f"standby-{row}", {"num_blocks": 4_096}) for row in range(2)),
        replace(quick_settings("small-0"), model=TINY),
    ]
    await asyncio.to_thread((folder / "epp.yaml").write_text, REFERENCE)
    async with SimFleet(settings, random.Random(7), lambda: 1.8e9) as fleet:
        every = tuple(each.settings.name for each in fleet.servers)
        told = {"default/chat": fallback}
        config = await asyncio.to_thread(
            lambda: serve_config(folder, discovery(fleet, every), pool="default/chat", fallback=told, **picker)
        )
        async with serving(config) as running:
            assert running.transport is not None
            listen, admin = (Address("127.0.0.1", port) for port in free_ports(2))
            known = tuple(Address("127.0.0.1", server.port) for server in fleet.servers)
            epp = Address("127.0.0.1", running.transport.port)
            connector = aiohttp.TCPConnector(limit=0)
            async with (
                running_envoy(admin, [PickerRoute(listen, epp, known, response_bodies=True)]),
                aiohttp.ClientSession(connector=connector) as session,
            ):
                made = Pools(folder, fleet, running, session, f"http://{listen}")
                await made.have(*every)
                yield made


@pytest.mark.parametrize("waits", WAITS)
async def test_an_empty_pool_costs_no_request(tmp_path: Path, waits: str) -> None:
    async with pools(tmp_path, TO_BOTH, **WAITS[waits]) as made:
        first = await made.asks(20)
        assert first.statuses == {200: 20}
        assert set(first.pods) == {"chat-0", "chat-1"}
        assert first.told == {"": 20}
        # The pool is scaled to zero and back while requests come.
        done, during = asyncio.Event(), Answers()

        async def go_on() -> None:
            while not done.is_set():
                await made.ask(during)

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(go_on())
            await made.have("standby-0", "standby-1", "small-0")
            await asyncio.sleep(0.5)
            await made.have("small-0")
            await asyncio.sleep(0.5)
            await made.have("chat-0", "chat-1", "standby-0", "standby-1", "small-0")
            await asyncio.sleep(0.3)
            done.set()
        assert set(during.statuses) == {200}, during.statuses
        assert {name.partition("-")[0] for name in during.pods} == set(POOLS)
        assert set(during.told) == {
            "",
            'pool="default/standby", reason=unavailable',
            f'pool="default/small", model="{TINY}", reason=unavailable',
        }
        assert {each["model"] for each in during.documents} == {MODEL, TINY}, "the answer says which model it is of"
        gone = sum(count for told, count in during.told.items() if told)
        assert await made.page("infscale_fallback_requests_total") == gone
        assert await made.page("infscale_fallback_open_requests") == 0
        last = await made.asks(10)
        assert last.told == {"": 10}


@pytest.mark.parametrize("waits", WAITS)
async def test_a_dead_pool_costs_no_request_once_it_is_seen_to_be_dead(tmp_path: Path, waits: str) -> None:
    async with pools(tmp_path, TO_BOTH, **WAITS[waits]) as made:
        done, answers = asyncio.Event(), Answers()

        async def go_on() -> None:
            while not done.is_set():
                await made.ask(answers)

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(go_on())
            await asyncio.sleep(0.3)
            died_at = time.monotonic()
            for row in range(2):
                await made.server(f"chat-{row}").inject(Fault(FaultKind.REFUSE))
            await asyncio.sleep(2.5)
            back_at = sum(answers.pods[f"chat-{row}"] for row in range(2))
            for row in range(2):
                await made.server(f"chat-{row}").clear()
            # Its servers failed requests a moment ago, so that they are tried after a while only.
            while sum(answers.pods[f"chat-{row}"] for row in range(2)) == back_at:
                await asyncio.sleep(0.05)
            done.set()
        lost = [at - died_at for at in answers.failed_at]
        total, last = sum(answers.statuses.values()), max(lost, default=0.0)
        print(f"\n{waits}: {len(lost)} of {total} lost, the last after {last:.2f} s")
        assert all(each < 0.6 for each in lost), lost
        assert len(lost) <= 40
        assert answers.told['pool="default/standby", reason=unavailable'] > 50


async def test_what_waits_goes_on_within_its_deadline_and_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = [{"pool": "default/standby", "after_seconds": 0.4}]
    async with pools(tmp_path, late, slow=True) as made:
        await made.have("chat-0", "standby-0", "standby-1")
        await made.asks(4)
        answers, took = Answers(), dict[int, float]()

        async def one(number: int) -> None:
            began = time.monotonic()
            await made.ask(answers, 3_000, 2, **{"x-request-id": f"late-{number}"})
            took[number] = time.monotonic() - began

        await asyncio.gather(*map(one, range(12)))
        assert answers.statuses == {200: 12}
        moved = [each for each in answers.told if each]
        assert moved
        assert all(
            each in {f'pool="default/standby", reason={why}' for why in ("waited", "forecast")} for each in moved
        )
        # Two such prompts fit into the cache of chat's one server, which takes 0.45 s for them: 2.7 s for all twelve.
        with capsys.disabled():
            print(f"\nthe last of 12 answers after {max(took.values()):.2f} s, {answers.told}")
        assert max(took.values()) < 1.5
        url = made.running.telemetry.url
        replayed = json.loads(await command(capsys, "replay", "--address", url, "--json"))
        assert replayed["decisions"] == replayed["same_choices"]
        texts = [await command(capsys, "explain", f"late-{number}", "--address", url) for number in range(12)]
        assert sum("came here instead of pool default/chat, where it" in each for each in texts) == sum(
            count for told, count in answers.told.items() if told
        )


async def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints, asked from another thread."""
    code = await asyncio.to_thread(main, arguments)
    out, error = capsys.readouterr()
    assert code == 0, error
    return out
