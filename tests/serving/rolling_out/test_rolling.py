"""The part that runs rollouts: time passes, states are kept, commands are taken and all of it is shown."""

from pathlib import Path

import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry, generate_latest

from infscale.cli.main import main
from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, Pool
from infscale.errors import ConfigError
from infscale.metrics.store.metrics_store import MetricStore
from infscale.rollouts.rollout_book import own_pool
from infscale.rollouts.rollout_state import CommandRefused
from infscale.serving.rolling_out.rolling import Rolling, rolling
from infscale.telemetry.debug_documents import DebugSources
from infscale.telemetry.own_metrics import OwnMetrics
from infscale.telemetry.telemetry_server import TelemetryListen, TelemetryServer
from infscale.top.asking_serve import NoAnswer, Refused, ServeClient
from tests.rollouts.made_rollouts import CANARY, canary

NEW = Endpoint(EndpointKey("default", "b"), "10.0.0.1", 8000, {"version": "v2"})
STATE = DiscoveryState((NEW,), (Pool(own_pool(CANARY), {}),), rollouts=(CANARY,))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def phase_of(made: Rolling) -> str:
    (running,) = made.book
    return running.state.phase.value


async def test_states_outlive_the_process(tmp_path: Path) -> None:
    path, clock = tmp_path / "rollouts.json", Clock()
    async with await rolling(clock, path) as made:
        made.sync(STATE)
        made.advance()
        made.commands()["rollouts"]("v2", "abort")
        await made.save()
    async with await rolling(clock, path) as again:
        again.sync(STATE)
        assert phase_of(again) == "Aborted"
        again.sync(DiscoveryState(STATE.endpoints, STATE.pools, rollouts=(canary(revision="2"),)))
        assert phase_of(again) == "Waiting"


async def test_a_file_that_cannot_be_read_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "rollouts.json").write_text("{")
    with pytest.raises(ConfigError, match=r"picker\.rollouts_file"):
        await rolling(Clock(), tmp_path / "rollouts.json")


async def test_a_file_that_cannot_be_written_is_said_once_and_nothing_stops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    async with await rolling(clock, tmp_path / "missing" / "rollouts.json") as made:
        made.sync(STATE)
        for command in ("hold", "resume"):
            made.advance()
            made.commands()["rollouts"]("v2", command)
            await made.save()
        assert phase_of(made) == "Progressing"
    assert len([each for each in caplog.records if "are not kept" in each.message]) == 1


async def test_time_in_a_step_is_kept_from_time_to_time_only(tmp_path: Path) -> None:
    path, clock = tmp_path / "rollouts.json", Clock()
    made = Rolling(clock, path)
    made.book.sync(STATE, clock())
    made.advance()
    await made.save()
    kept = path.read_bytes()
    for clock.now, changed in ((1.0, False), (9.0, False), (11.0, True)):
        made.advance()
        await made.save()
        assert (path.read_bytes() != kept) == changed


async def test_it_is_seen_and_told_over_loopback_alone(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    made = Rolling(clock)
    made.book.sync(STATE, clock())
    made.advance()
    sources = DebugSources(made.pages(), made.finders(), commands=made.commands())
    listen, page = TelemetryListen("127.0.0.1", 0), OwnMetrics()
    async with (
        TelemetryServer(listen, MetricStore("s"), page, clock, sources) as server,
        ServeClient(server.url, 5.0) as client,
    ):
        document = await client.document("rollouts/default/v2")
        assert isinstance(document, dict)
        assert (document["phase"], document["weight_ratio"]) == ("Progressing", 0.1)
        await client.tell("rollouts/default%2Fv2", "hold")
        assert phase_of(made) == "Held"
        with pytest.raises(Refused, match="what is Progressing can be held"):
            await client.tell("rollouts/v2", "hold")
        with pytest.raises(Refused, match="expected one of the commands hold, resume, abort"):
            await client.tell("rollouts/v2", "explode")
        with pytest.raises(Refused, match="there is no rollout of that name"):
            await client.tell("rollouts/v3", "hold")
        with pytest.raises(NoAnswer):
            await client.tell("picks/v3", "hold")
    with pytest.raises(CommandRefused):
        made.commands()["rollouts"]("v2", "hold")


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/json"}, b'{"command": "hold"}', 200),
        ({"Content-Type": "text/plain"}, b'{"command": "hold"}', 415),
        ({"Content-Type": "application/json", "Origin": "http://attacker.example"}, b'{"command": "hold"}', 415),
        ({"Content-Type": "application/json", "Host": "attacker.example"}, b'{"command": "hold"}', 403),
        ({"Content-Type": "application/json"}, b"{", 400),
        ({"Content-Type": "application/json"}, b'{"command": 5}', 400),
        ({"Content-Type": "application/json"}, b"[" * 100_000, 400),
    ],
)
async def test_pages_of_the_web_cannot_command(headers: dict[str, str], body: bytes, status: int) -> None:
    clock = Clock()
    made = Rolling(clock)
    made.book.sync(STATE, clock())
    made.advance()
    sources = DebugSources(commands=made.commands())
    async with (
        TelemetryServer(TelemetryListen("127.0.0.1", 0), MetricStore("s"), OwnMetrics(), clock, sources) as server,
        ClientSession(server.url) as session,
        session.post("/debug/rollouts/default/v2", data=body, headers=headers) as answer,
    ):
        assert answer.status == status
    assert phase_of(made) == ("Held" if status == 200 else "Progressing")


def test_metrics_say_where_it_is() -> None:
    clock = Clock()
    made = Rolling(clock)
    made.book.sync(STATE, clock())
    made.advance()
    registry = CollectorRegistry(auto_describe=False)
    for each in made.collectors():
        registry.register(each)
    lines = generate_latest(registry).decode().splitlines()
    assert 'infscale_rollout_weight_ratio{rollout="default/v2"} 0.1' in lines
    assert 'infscale_rollout_phase{phase="Progressing",rollout="default/v2"} 1.0' in lines
    assert 'infscale_rollout_phase{phase="Held",rollout="default/v2"} 0.0' in lines
    assert 'infscale_rollout_tested_requests_total{rollout="default/v2",version="new"} 0.0' in lines


@pytest.mark.parametrize("arguments", [["status"], ["status", "v2"], ["hold", "v2"], ["abort", "default/v2"]])
def test_where_nothing_answers_the_command_says_so(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", *arguments, "--address", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err == "infscale: http://127.0.0.1:1: connection refused\n"
