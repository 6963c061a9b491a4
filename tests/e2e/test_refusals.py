"""What the picker refuses through a real Envoy is counted by reason and status."""

from pathlib import Path

import aiohttp
import pytest

from tests.e2e.gateway import gateway
from tests.sim.simulated import MODEL, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]

INPUTS: dict[str, tuple[str, bytes, int, str]] = {
    "bad JSON": ("/v1/completions", b'{"model":', 400, "invalid_json"),
    "missing messages": ("/v1/chat/completions", b'{"model": "m"}', 400, "invalid_request"),
    "missing model": ("/v1/completions", b'{"prompt": "x"}', 400, "missing_model"),
    "too large": ("/v1/completions", b" " * 2_000, 413, "body_too_large"),
    "unknown model": ("/v1/completions", b'{"model": "unheard-of", "prompt": "x"}', 404, "unknown_model"),
}


@pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
async def test_refusals_through_envoy_are_counted(tmp_path: Path, transport: str) -> None:
    servers = [quick_settings("a")]
    async with gateway(
        tmp_path, servers, transport=transport, max_body_bytes=1_024, unknown_models="reject"
    ) as running:
        url = running.serving.telemetry.url
        for path, body, status, reason in INPUTS.values():
            # Until the server's list of models is there, models are left to its own answer.
            while f'reason="{reason}"' not in await metrics(running.session, url):
                async with running.session.post(running.url + path, data=body) as answer:
                    assert answer.status == status
        good = {"model": MODEL, "prompt": "x", "max_tokens": 1}
        async with running.session.post(f"{running.url}/v1/completions", json=good) as answer:
            assert answer.status == 200
        page = await metrics(running.session, url)
    for name, (_, _, status, reason) in INPUTS.items():
        series = f'infscale_picker_rejections_total{{pool="default/default",reason="{reason}",status="{status}"}} 1.0'
        assert series in page, name
    assert page.count("infscale_picker_rejections_total{") == len(INPUTS)


async def metrics(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(f"{url}/metrics") as answer:
        return await answer.text()
