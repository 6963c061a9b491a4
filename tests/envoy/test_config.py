"""The Envoy configurations we generate are what we recommend, and a real Envoy accepts them."""

import subprocess
from pathlib import Path

import orjson
import pytest

from infscale.envoy.config import Address, PickerRoute, RoundRobinRoute, Route, bootstrap
from infscale.envoy.process import find_envoy, running_envoy
from infscale.errors import StartError

ADMIN = Address("127.0.0.1", 19001)
ENDPOINTS = (Address("127.0.0.1", 8001), Address("::1", 8002))
PICKER = PickerRoute(Address("127.0.0.1", 18101), Address("127.0.0.1", 9002), ENDPOINTS)

UNKNOWING = PickerRoute(PICKER.listen, PICKER.picker, None)


def text(*routes: Route) -> str:
    return orjson.dumps(bootstrap(ADMIN, routes)).decode()


def test_the_picker_sees_completion_without_seeing_tokens() -> None:
    recommended = text(PICKER)
    assert '"response_body_mode":"NONE"' in recommended
    assert '"response_trailer_mode":"SEND"' in recommended
    assert '"request_trailer_mode":"SEND"' in recommended


@pytest.mark.parametrize("route", [PICKER, UNKNOWING], ids=["known endpoints", "unknown endpoints"])
def test_a_client_cannot_choose_the_destination(route: Route) -> None:
    assert '"remove":"x-gateway-destination-endpoint"' in text(route)


def test_an_envoy_that_knows_no_endpoints_goes_where_the_header_says() -> None:
    assert '"original_dst_lb_config":{"use_http_header":true' in text(UNKNOWING)


@pytest.mark.envoy
@pytest.mark.parametrize(
    "routes",
    [
        pytest.param((UNKNOWING,), id="unknown endpoints"),
        pytest.param((PICKER, RoundRobinRoute(Address("127.0.0.1", 18102), ENDPOINTS)), id="both"),
        pytest.param(
            (PickerRoute(PICKER.listen, PICKER.picker, ENDPOINTS, True, "/etc/ssl/certs/ca-certificates.crt"),),
            id="response bodies over TLS",
        ),
    ],
)
def test_a_real_envoy_accepts_it(tmp_path: Path, routes: tuple[Route, ...]) -> None:
    config = tmp_path / "envoy.json"
    config.write_text(text(*routes))
    result = subprocess.run(
        [find_envoy(), "-c", config, "--mode", "validate", "-l", "error"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.envoy
async def test_an_envoy_that_cannot_start_is_said_plainly() -> None:
    taken = Address("192.0.2.1", 1)
    with pytest.raises(StartError, match="Envoy"):
        async with running_envoy(taken, [RoundRobinRoute(taken, ENDPOINTS)]):
            pass
