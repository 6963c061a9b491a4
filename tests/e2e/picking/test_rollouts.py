"""Rollouts behind a real Envoy, under load with sessions: no request fails, and no session changes versions twice."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
import yaml

from infscale.cli.main import main
from infscale.latency.step_model import StepModel
from infscale.rollouts.rollout_state import ENDED, RolloutPhase
from infscale.sim.http.simulated_servers import SimServerSettings
from infscale.sim.settings import Fault, FaultKind
from infscale.top.asking_serve import Refused, ServeClient
from tests.e2e.gateway import Gateway, gateway
from tests.sim.simulated import MODEL, QUICK, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(90)]

USUAL, SLOW = 0.003, 0.006
LONG, SHORT = 8, 8
"""Sessions that last for the whole test, and how many that begin anew every few requests."""


def server(name: str, version: str, step_seconds: float = USUAL, **more: Any) -> SimServerSettings:
    coefficients = replace(QUICK, steps=StepModel(step_seconds, 1e-6, 0.0, 0.0))
    made = quick_settings(name, labels={"version": version}, **more)
    return replace(made, coefficients=coefficients)


def versions(step_seconds: float = USUAL) -> list[SimServerSettings]:
    return [server(f"v1-{each}", "v1") for each in range(2)] + [
        server(f"v2-{each}", "v2", step_seconds) for each in "ab"
    ]


def inference_pool(name: str, labels: Mapping[str, str]) -> dict[str, object]:
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": dict(labels)}, "targetPorts": [{"number": 1}]},
    }


def rollout(name: str = "v2", **spec: object) -> dict[str, object]:
    document: dict[str, object] = {
        "poolRef": {"name": "default"},
        "old": {"podLabels": {"version": "v1"}},
        "new": {"podLabels": {"version": "v2"}},
        "canary": {
            "steps": [
                {"weightPercent": 0, "seconds": 1.5},
                {"weightPercent": 20, "requests": 15},
                {"weightPercent": 50, "requests": 30, "seconds": 1},
            ]
        },
    }
    document |= {"canary": document["canary"] if "blueGreen" not in spec else None, **spec}
    return {
        "apiVersion": "infscale.dev/v1alpha1",
        "kind": "ModelRollout",
        "metadata": {"name": name},
        "spec": {key: value for key, value in document.items() if value is not None},
    }


@dataclass
class Session:
    """What one session saw, by the version of each answer."""

    name: str
    model: str
    seen: list[str] = field(default_factory=list[str])

    @property
    def changes(self) -> int:
        return sum(before != after for before, after in itertools.pairwise(self.seen))


@dataclass
class Load:
    """Requests of sessions; an answer's version is that of its pod, or of its model where versions are models."""

    made: Gateway
    model: str = MODEL
    by_model: bool = False
    sessions: list[Session] = field(default_factory=list[Session])
    failures: list[str] = field(default_factory=list[str])
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, session: Session) -> None:
        body = {"model": session.model, "prompt": f"{session.name} hello", "max_tokens": 8}
        headers = {"x-session-id": session.name}
        try:
            async with self.made.session.post(f"{self.made.url}/v1/completions", json=body, headers=headers) as answer:
                if answer.status != 200:
                    self.failures.append(f"{answer.status} {await answer.text()}")
                    return
                document = await answer.json()
                pod = answer.headers["x-inference-pod"].partition("-")[0]
                session.seen.append(str(document["model"]).rpartition("-")[2] if self.by_model else pod)
        except aiohttp.ClientError as error:
            self.failures.append(repr(error))

    async def client(self, number: int, each: int | None) -> None:
        """One session after the other, of `each` requests; None: one that lasts."""
        for turn in itertools.count():
            session = Session(f"{number}/{turn}", self.model)
            self.sessions.append(session)
            for _ in itertools.count() if each is None else range(each):
                if self.stop.is_set():
                    return
                await self.ask(session)

    @property
    def lasting(self) -> list[Session]:
        return [each for each in self.sessions if int(each.name.partition("/")[0]) < LONG]

    async def settled(self) -> None:
        """Until every lasting session had more answers, each asked after now."""
        had = [len(each.seen) for each in self.lasting]
        while any(len(each.seen) < before + 3 for each, before in zip(self.lasting, had, strict=True)):
            assert self.failures == []
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def under_load(made: Gateway, **given: Any) -> AsyncGenerator[Load]:
    load = Load(made, **given)
    async with asyncio.TaskGroup() as group:
        for number in range(LONG + SHORT):
            group.create_task(load.client(number, None if number < LONG else 3))
        try:
            await load.settled()
            yield load
        finally:
            load.stop.set()


async def discover(folder: Path, made: Gateway, objects: Sequence[object]) -> None:
    document = {**made.fleet.discovery_document(), "objects": list(objects)}
    await asyncio.to_thread((folder / "discovery.yaml").write_text, yaml.safe_dump(document))


async def until(made: Gateway, *phases: RolloutPhase, name: str = "v2") -> dict[str, Any]:
    """Wait for a rollout to be in one of `phases`; its document."""
    async with ServeClient(made.serving.telemetry.url, 5.0) as client:
        while True:
            found = await client.document(f"rollouts/default/{name}")
            if isinstance(found, dict) and found["phase"] in phases:
                return cast("dict[str, Any]", found)
            await asyncio.sleep(0.05)


def checked(load: Load, end: str) -> None:
    """What holds of every rollout, whatever became of it."""
    assert load.failures == []
    assert {each.seen[-1] for each in load.lasting} == {end}
    assert max(each.changes for each in load.sessions) <= 1


async def test_a_canary_ends_with_the_new_version(tmp_path: Path) -> None:
    async with gateway(tmp_path, versions()) as made:
        await discover(tmp_path, made, [rollout()])
        await until(made, RolloutPhase.PROGRESSING)
        async with under_load(made) as load:
            document = await until(made, *ENDED)
            await load.settled()
    assert (document["phase"], document["alarm"]) == ("Completed", None)
    checked(load, "v2")
    assert any(each.changes for each in load.lasting)
    assert document["tested"]["new"] >= 45


async def test_a_slower_version_is_taken_back_and_no_request_is_lost(tmp_path: Path) -> None:
    async with gateway(tmp_path, versions(SLOW)) as made:
        steps = [{"weightPercent": 0, "seconds": 1.5}, {"weightPercent": 20, "requests": 3000}]
        await discover(tmp_path, made, [rollout(canary={"steps": steps})])
        await until(made, RolloutPhase.PROGRESSING)
        async with under_load(made) as load:
            document = await until(made, *ENDED)
            await load.settled()
    assert document["phase"] == "RolledBack", document
    assert "the new version is worse" in document["reason"]
    assert document["tested"]["new"] <= 500
    checked(load, "v1")


async def test_failing_is_found_before_many_have_seen_it(tmp_path: Path) -> None:
    async with gateway(tmp_path, versions()) as made:
        steps = [{"weightPercent": 0, "seconds": 1.5}, {"weightPercent": 20, "requests": 3000}]
        await discover(tmp_path, made, [rollout(canary={"steps": steps})])
        await until(made, RolloutPhase.PROGRESSING)
        for name in ("v2-a", "v2-b"):
            found = made.fleet.find(name)
            assert found is not None
            await found.inject(Fault(FaultKind.ERROR))
        async with under_load(made) as load:
            document = await until(made, *ENDED)
            before = len(load.failures)
            seen = {each.name: len(each.seen) for each in load.lasting}
            while any(len(each.seen) < seen[each.name] + 3 for each in load.lasting):
                await asyncio.sleep(0.02)
    assert document["phase"] == "RolledBack", document
    assert document["failed"]["new"] <= 20
    # Those under way when it was taken back, and none after.
    assert len(load.failures) - before <= LONG + SHORT


async def test_blue_green_changes_all_at_once(tmp_path: Path) -> None:
    async with gateway(tmp_path, versions()) as made:
        await discover(tmp_path, made, [rollout(blueGreen={"previewSeconds": 2, "seconds": 2, "requests": 20})])
        await until(made, RolloutPhase.PROGRESSING)
        async with under_load(made) as load:
            document = await until(made, *ENDED)
            await load.settled()
    assert (document["phase"], document["alarm"]) == ("Completed", None)
    checked(load, "v2")
    assert {each.changes for each in load.lasting} == {1}


async def test_from_pool_to_pool(tmp_path: Path) -> None:
    async with gateway(tmp_path, versions(), pool="default/default") as made:
        pools = [inference_pool("default", {"version": "v1"}), inference_pool("green", {"version": "v2"})]
        await discover(tmp_path, made, [*pools, rollout(old=None, new={"poolRef": {"name": "green"}})])
        await until(made, RolloutPhase.PROGRESSING)
        async with under_load(made) as load:
            document = await until(made, *ENDED)
            await load.settled()
    assert document["phase"] == "Completed", document
    checked(load, "v2")


async def test_a_new_version_of_an_adapter(tmp_path: Path) -> None:
    servers = [server(f"s-{each}", "any", loras=("chat-v1", "chat-v2")) for each in range(2)]
    async with gateway(tmp_path, servers) as made:
        given = rollout(old={"model": "chat-v1"}, new={"model": "chat-v2"}, model="chat")
        await discover(tmp_path, made, [given])
        await until(made, RolloutPhase.PROGRESSING)
        async with under_load(made, model="chat", by_model=True) as load:
            document = await until(made, *ENDED)
            await load.settled()
    assert document["phase"] == "Completed", document
    checked(load, "v2")


async def test_it_is_held_resumed_and_aborted_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with gateway(tmp_path, versions()) as made:
        steps = [{"weightPercent": 30, "seconds": 1}, {"weightPercent": 60, "seconds": 600}]
        await discover(tmp_path, made, [rollout(canary={"steps": steps})])
        await until(made, RolloutPhase.PROGRESSING)
        async with under_load(made) as load, ServeClient(made.serving.telemetry.url, 5.0) as client:
            await client.tell("rollouts/v2", "hold")
            await asyncio.sleep(1.5)
            held = await until(made, RolloutPhase.HELD)
            assert (held["step"], held["weight_ratio"]) == (1, 0.3)
            with pytest.raises(Refused, match="what is Progressing can be held"):
                await client.tell("rollouts/default%2Fv2", "hold")
            await client.tell("rollouts/default%2Fv2", "resume")
            while (await until(made, RolloutPhase.PROGRESSING))["step"] == 1:
                await asyncio.sleep(0.05)
            at = ["--address", made.serving.telemetry.url]
            assert await asyncio.to_thread(main, ["rollout", "hold", "v2", *at]) == 0
            assert await asyncio.to_thread(main, ["rollout", "hold", "v2", *at]) == 1
            assert await asyncio.to_thread(main, ["rollout", "abort", "default/v2", *at]) == 0
            assert await asyncio.to_thread(main, ["rollout", "status", *at]) == 0
            assert await asyncio.to_thread(main, ["rollout", "status", "v3", *at]) == 1
            said = capsys.readouterr()
            await until(made, RolloutPhase.ABORTED)
            await load.settled()
    assert load.failures == []
    assert {each.seen[-1] for each in load.lasting} == {"v1"}
    assert said.out.count("default/v2: Held, held by command") == 1
    assert said.out.count("default/v2: Aborted, aborted by command") == 2
    assert "it is Held: what is Progressing can be held" in said.err
    assert "there is no rollout of that name" in said.err


async def test_two_rollouts_at_once_go_their_own_ways(tmp_path: Path) -> None:
    """One of an adapter ends well; the other, of another adapter, is taken back."""
    servers = [server(f"s-{each}", "any", loras=("chat-v1", "chat-v2", "code-v1", "code-v2")) for each in range(2)]
    async with gateway(tmp_path, servers) as made:
        two = [
            rollout(name, model=name, old={"model": f"{name}-v1"}, new={"model": f"{name}-v2"})
            for name in ("chat", "code")
        ]
        await discover(tmp_path, made, two)
        for name in ("chat", "code"):
            await until(made, RolloutPhase.PROGRESSING, name=name)
        async with (
            under_load(made, model="chat", by_model=True) as chat,
            under_load(made, model="code", by_model=True) as code,
            ServeClient(made.serving.telemetry.url, 5.0) as client,
        ):
            await client.tell("rollouts/code", "hold")
            await until(made, RolloutPhase.COMPLETED, name="chat")
            await client.tell("rollouts/code", "abort")
            await chat.settled()
            await code.settled()
    checked(chat, "v2")
    checked(code, "v1")
