"""Picks of requests through a real Envoy are explained, made again by the same configuration, and by another."""

import asyncio
import json
import random
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from infscale.cli.main import main
from tests.e2e.gateway import POOL, Gateway, gateway
from tests.e2e.picking.test_flow_control import SLOW
from tests.sim.simulated import MODEL, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(90)]

CHATS = 24
"""More than two servers take at once of which nothing is known yet."""
REQUESTS = 400
SECRET = "a secret prompt"
ASKING = {"x-infscale-explain": "1", "authorization": "Bearer a-secret-key"}

SESSION = "x-infscale-session"
SESSIONS = f"""\
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
plugins:
- type: session-affinity-filter
  parameters: {{strategy: signed_token, signedTokenConfig: {{keys: KEYS, header: {SESSION}}}}}
- {{type: marginal-cost-scorer}}
- {{type: max-score-picker}}
"""


async def ask(running: Gateway, number: int) -> dict[str, str]:
    """One request; the headers of its answer, by their names in lower case."""
    prompt = f"{number % 7} {SECRET} " * 60
    options = {"stream": True, "stream_options": {"include_usage": True}}
    body = {"model": MODEL, "prompt": prompt, "max_tokens": 3, **options}
    headers = {**ASKING, "x-request-id": f"request-{number}"}
    async with running.session.post(f"{running.url}/v1/completions", json=body, headers=headers) as answer:
        assert answer.status == 200
        await answer.read()
        return {name.lower(): value for name, value in answer.headers.items()}


async def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints, asked from another thread."""
    code = await asyncio.to_thread(main, arguments)
    out, error = capsys.readouterr()
    assert code == 0, error
    return out


@pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
async def test_every_pick_is_made_again_bit_for_bit_and_explained(
    tmp_path: Path, transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    servers = [quick_settings(name) for name in "abc"]
    written = tmp_path / "picks.jsonl"
    explain = {"file": "picks.jsonl"}
    trusted = ["x-infscale-explain"]
    async with gateway(
        tmp_path, servers, response_bodies=True, transport=transport, explain=explain, trusted_headers=trusted
    ) as running:
        url = running.serving.telemetry.url
        told: Any = {}
        for start in range(0, REQUESTS, 40):
            answers = await asyncio.gather(*(ask(running, start + each) for each in range(40)))
            told |= {f"request-{start + place}": answer for place, answer in enumerate(answers)}
        same = json.loads(await command(capsys, "replay", "--address", url, "--json"))
        assert same["decisions"] == same["same_choices"] == REQUESTS
        other = json.loads(await command(capsys, "replay", "--address", url, "--config", "lmetric", "--json"))
        assert other["decisions"] == REQUESTS > other["same_choices"]
        for name in ("request-0", f"request-{REQUESTS - 1}"):
            text = await command(capsys, "explain", name, "--address", url, "--json")
            (pick,) = json.loads(text)["picks"]
            assert (pick["request_id"], pick["reproduced"]) == (name, True)
            assert pick["pick"] == told[name]["x-infscale-pick"]
            assert pick["winner"].endswith(told[name]["x-inference-pod"])
            assert pick["actual"]["status"] == 200
            assert pick["actual"]["completion_tokens"] == 3
            assert "secret" not in text
            by_pick = await command(capsys, "explain", pick["pick"], "--address", url)
            assert f"request {name} of pool default/default" in by_pick
        assert await asyncio.to_thread(main, ["explain", "unknown", "--address", url]) == 1
    assert "no pick of 'unknown'" in capsys.readouterr().err
    filed = json.loads(await command(capsys, "replay", "--file", str(written), "--json"))
    assert filed["decisions"] == filed["same_choices"] == REQUESTS
    assert "secret" not in written.read_text()
    assert "request-7 of pool" in await command(capsys, "explain", "request-7", "--file", str(written))


@pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
async def test_picks_of_sessions_and_of_what_waited_are_made_again_bit_for_bit(
    tmp_path: Path, transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "keys").write_text(b64encode(random.Random(1).randbytes(32)).decode())
    config = tmp_path / "epp.yaml"
    config.write_text(SESSIONS.replace("KEYS", str(tmp_path / "keys")))
    servers = [quick_settings(name, {"num_blocks": 4_096}, coefficients=SLOW) for name in "ab"]
    flow, explain = {"enabled": True}, {"file": "picks.jsonl"}
    options: dict[str, Any] = {
        "transport": transport,
        "config_file": "epp.yaml",
        "flow_control": flow,
        "explain": explain,
    }
    tokens: list[str] = []
    async with gateway(tmp_path, servers, **options) as running:

        async def chat(number: int) -> None:
            token = ""
            for turn in range(4):
                body = {"model": MODEL, "prompt": f"{number} {SECRET} " + "word " * 2_000, "max_tokens": 2}
                headers = {"x-request-id": f"chat-{number}-{turn}", **({SESSION: token} if token else {})}
                async with running.session.post(f"{running.url}/v1/completions", json=body, headers=headers) as answer:
                    assert answer.status == 200
                    await answer.read()
                    token = answer.headers[SESSION]
                    tokens.append(token)

        await asyncio.gather(*map(chat, range(CHATS)))
        url = running.serving.telemetry.url
        same = json.loads(await command(capsys, "replay", "--address", url, "--config", str(config), "--json"))
        assert same["decisions"] == same["same_choices"] == 4 * CHATS
        (log, _) = running.serving.directors.logs()[POOL]
        assert log is not None
        waited = [pick.record for sheet in log.sheets() for pick in sheet.picks if pick.record.waited_seconds]
        assert waited
        held = json.loads(await command(capsys, "explain", waited[0].request_id, "--address", url, "--json"))["picks"][
            0
        ]
        assert (held["reproduced"], held["waited_seconds"]) == (True, waited[0].waited_seconds)
        assert "room" in [stage["kind"] for stage in held["stages"]]
        text = await command(capsys, "explain", "chat-3-3", "--address", url)
        assert f"session by header {SESSION}: stayed on" in text
        text = await command(capsys, "explain", "chat-3-0", "--address", url)
        assert "a new one begins" in text
    written = (tmp_path / "picks.jsonl").read_text()
    assert not any(token in written for token in tokens)
    arguments = ("--file", str(tmp_path / "picks.jsonl"), "--config", str(config))
    filed = json.loads(await command(capsys, "replay", *arguments, "--json"))
    assert filed["decisions"] == filed["same_choices"] == 4 * CHATS


async def test_clients_are_not_told_of_picks_unless_that_is_said(tmp_path: Path) -> None:
    async with gateway(tmp_path, [quick_settings("a")]) as running:
        assert "x-infscale-pick" not in await ask(running, 1)


async def test_all_clients_are_told_of_picks_where_that_is_configured(tmp_path: Path) -> None:
    async with gateway(tmp_path, [quick_settings("a")], explain={"tell": True}) as running:
        assert "x-infscale-pick" in await ask(running, 1)
