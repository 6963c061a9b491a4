"""Serving goes on through whatever happens to discovery, and says at the start what could stop it later."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from aiohttp import ClientSession

from infscale.config.read import load_config
from infscale.discovery.file import FileDiscovery
from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError
from infscale.labels import model_key
from infscale.metrics.pages.dialects import DIALECTS
from infscale.serving.composition import serving
from infscale.sim.pages.engine_pages import EngineSkin
from tests.keda.keda_client import MESSAGES, Keda, channel, specs_in
from tests.picker.transport import gateway
from tests.sim.simulated import MODEL, quick_settings
from tests.sim.simulated import running as running_servers

CONFLICT = """
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins: [{type: utilization-detector}]
saturationDetector: {pluginRef: utilization-detector}
"""


def endpoint(number: int) -> dict[str, object]:
    return {"name": f"a-{number}", "address": "127.0.0.1", "port": number + 1, "labels": {"app": "a"}}


def pool(name: str) -> dict[str, object]:
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "targetPorts": [{"number": 1}]},
    }


def config_file(folder: Path, picker: Mapping[str, object] | None = None, **sections: object) -> Path:
    (folder / "discovery.yaml").write_text(yaml.safe_dump({"endpoints": [endpoint(0), endpoint(1)]}))
    free: dict[str, dict[str, object]] = {
        part: {"listen": "127.0.0.1:0"} for part in ("picker", "adapter", "telemetry")
    }
    free["picker"] |= picker or {}
    discovery = {"file": "discovery.yaml", "poll_interval_seconds": 0.02}
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump({"discovery": discovery, **free, **sections}))
    return path


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_pool_that_is_not_there_yet_is_checked_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "epp.yaml").write_text(CONFLICT)
    other = {"default/later": {"saturation": {"queue_depth_threshold": 3}}}
    config = await asyncio.to_thread(load_config, config_file(tmp_path, {"config_file": "epp.yaml"}, pools=other))
    with pytest.raises(ConfigError, match=r"saturation differs from what .*serve\.yaml"):
        async with serving(config):
            pass


async def test_pools_and_endpoints_come_and_go_while_serving(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "discovery.yaml"
    config = await asyncio.to_thread(load_config, config_file(tmp_path))
    async with serving(config) as running:
        store = running.store
        charge = store.charge(ObjectKey("default", "default"), 1, "m", 10.0, 0.0)
        good = store.discovery
        file.write_text("endpoints: [{name: a")
        await eventually(lambda: "discovery file refused" in caplog.text)
        assert store.discovery is good
        file.write_text(yaml.safe_dump({"endpoints": [endpoint(0)], "objects": [pool("one"), pool("two")]}))
        await eventually(lambda: [str(key) for key in store.pools()] == ["default/one", "default/two"])
        store.release(charge, answered=True)
        file.write_text(yaml.safe_dump({"endpoints": [endpoint(0), endpoint(1)]}))
        await eventually(lambda: store.pools() == (ObjectKey("default", "default"),))
        (snapshot,) = store.snapshots()
        assert list(snapshot.in_flight_requests) == [0, 0]


def test_a_second_signal_ends_the_drain(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infscale.cli.main", "serve", "--config", str(config_file(tmp_path))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        serving_line = next(line for line in lines if "pools=" in line)
        port = serving_line.split("ext_proc on port ")[1].split()[0]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            path = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
            over = threading.Event()
            exchange = channel.stream_stream(path, None, None)(iter(over.wait, True))
            grpc.channel_ready_future(channel).result(5)
            process.send_signal(signal.SIGTERM)
            assert any("draining" in line for line in lines)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1.0)
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
            assert time.monotonic() - started < 5
            exchange.cancel()
            over.set()
        assert "Traceback" not in process.stderr.read()


BY_FILE = """
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins: [{type: file-discovery, parameters: {path: FILE}}]
dataLayer: {discovery: {pluginRef: file-discovery}}
"""


@pytest.mark.parametrize(("name", "works"), [("discovery.yaml", True), ("other.yaml", False)])
async def test_two_sources_of_endpoints_must_be_one(tmp_path: Path, name: str, works: bool) -> None:
    (tmp_path / "epp.yaml").write_text(BY_FILE.replace("FILE", str(tmp_path / name)))
    config = await asyncio.to_thread(load_config, config_file(tmp_path, {"config_file": "epp.yaml"}))
    refused = pytest.raises(ConfigError, match=r"epp\.yaml:5: dataLayer\.discovery: says")
    with contextlib.nullcontext() if works else refused:
        async with serving(config):
            pass


async def test_a_file_that_is_not_watched_is_read_once(tmp_path: Path) -> None:
    config = await asyncio.to_thread(load_config, config_file(tmp_path))
    config = replace(config, discovery=replace(config.discovery, watch=False))
    watched = FileDiscovery(tmp_path / "discovery.yaml", interval_seconds=config.discovery.poll_interval_seconds)
    states = watched.states()
    async with serving(config) as running:
        good = running.store.discovery
        await anext(states)
        # What is watched at the same pace has changed twice, and this has not.
        for names in ([endpoint(0)], [endpoint(1)]):
            (tmp_path / "discovery.yaml").write_text(yaml.safe_dump({"endpoints": names}))
            await anext(states)
        assert running.store.discovery is good


@pytest.mark.parametrize(("early", "answer"), [(True, "SERVING"), (False, "NOT_SERVING")])
async def test_being_ready_needs_endpoints_or_a_pool(tmp_path: Path, early: bool, answer: str) -> None:
    path = config_file(tmp_path, {"ready_without_endpoints": early, "unknown_load": "refuse"})
    async with serving(await asyncio.to_thread(load_config, path)) as running:
        assert running.transport is not None
        assert await gateway.check(running.transport.port) == answer


async def names_on(url: str) -> set[str]:
    """The families on a page."""
    async with ClientSession() as session, session.get(f"{url}/metrics", ssl=False) as response:
        return {line.split()[2] for line in (await response.text()).splitlines() if line.startswith("# TYPE")}


async def test_every_page_of_metrics_shows_what_all_parts_count(tmp_path: Path) -> None:
    """The averages of pools, too, which other pickers and dashboards read wherever they ask."""
    path = config_file(tmp_path, keda={"listen": "127.0.0.1:0"})
    async with serving(await asyncio.to_thread(load_config, path)) as running:
        assert running.adapter is not None
        of_adapter, of_telemetry = await names_on(running.adapter.url), await names_on(running.telemetry.url)
    assert of_adapter == of_telemetry
    assert {"llm_d_epp_ready_endpoints", "infscale_adapter_requests_total", "infscale_scrapes_total"} <= of_adapter
    assert {"infscale_keda_calls_total", "infscale_keda_streams", "infscale_keda_pushes_total"} <= of_adapter


@pytest.mark.parametrize("skin", [EngineSkin.TGI, EngineSkin.LLAMACPP, EngineSkin.TRITON, EngineSkin.LMDEPLOY])
async def test_an_engine_is_found_out_and_its_model_known_by_its_list(tmp_path: Path, skin: EngineSkin) -> None:
    """From the page to the answers: by the engine's own names, and by the model that no page of it names."""
    async with running_servers(quick_settings(skin=skin)) as (fleet, _):
        path = config_file(tmp_path, scrape={"model_lists": True})
        server = {"name": "a-0", "address": "127.0.0.1", "port": fleet.servers[0].port, "labels": {"app": "a"}}
        (tmp_path / "discovery.yaml").write_text(yaml.safe_dump({"endpoints": [server]}))
        async with serving(await asyncio.to_thread(load_config, path)) as running, ClientSession() as session:
            assert running.adapter is not None
            base = f"{running.adapter.url}/apis/external.metrics.k8s.io/v1beta1/namespaces/default"

            async def asked(metric: str, **labels: str) -> list[str] | None:
                params = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())}
                async with session.get(f"{base}/{metric}", params=params, ssl=False) as response:
                    document = await response.json()
                return [each["value"] for each in document["items"]] if response.status == 200 else None

            async with asyncio.timeout(15):
                while await asked("in_flight_requests", model_name=model_key(MODEL)) != ["0"]:
                    await asyncio.sleep(0.05)
                while await asked("waiting_requests") is None:
                    await asyncio.sleep(0.05)
                while not (listed := running.store.snapshots()[0].columns.listed[0]):
                    await asyncio.sleep(0.05)
            for name in DIALECTS[skin.value].loads:
                assert await asked(name) == ["0"]
            assert listed == {MODEL}
            page = await names_on(running.telemetry.url)
    assert {"infscale_model_list_scrapes_total", "infscale_model_list_names"} <= page


async def test_the_target_of_a_trigger_follows_the_scheduling(tmp_path: Path) -> None:
    """Its changes reach KEDA on the stream of specifications."""
    scheduling = tmp_path / "epp.yaml"
    scheduling.write_text(DETECTOR.replace("LIMIT", "7"))
    path = config_file(tmp_path, {"config_file": "epp.yaml"}, keda={"listen": "127.0.0.1:0"})
    async with serving(await asyncio.to_thread(load_config, path)) as running:
        assert running.scaler is not None
        async with channel(running.scaler.server.port) as opened:
            keda = Keda(opened, {"metric": "waiting_requests", "pool": "default"}, namespace="default")
            stream = keda.stream_specs()
            assert specs_in(await stream.read()) == {"waiting_requests": (7, 7.0)}
            scheduling.write_text(DETECTOR.replace("LIMIT", "3"))
            async with asyncio.timeout(10):
                assert specs_in(await stream.read()) == {"waiting_requests": (3, 3.0)} == await keda.specs()


DETECTOR = """
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: utilization-detector
  parameters: {queueDepthThreshold: LIMIT}
saturationDetector: {pluginRef: utilization-detector}
"""


def test_streams_of_keda_end_in_order_at_a_signal(tmp_path: Path) -> None:
    """Before exchanges have ended: KEDA opens them again at what takes over."""
    path = config_file(tmp_path, keda={"listen": "127.0.0.1:0"})
    command = [sys.executable, "-m", "infscale.cli.main", "serve", "--config", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        serving_line = next(line for line in lines if "pools=" in line)
        port = serving_line.split("external scaler on port ")[1].split()[0].strip("'\"")
        metadata = {"slo": "ttft_p90=1s", "pool": "default"}
        asked = MESSAGES["ScaledObjectRef"](name="a", namespace="default", scalerMetadata=metadata)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as opened:
            call = opened.unary_stream("/externalscaler.ExternalScaler/StreamIsActive", None, None)
            stream: Any = call(asked.SerializeToString())
            next(stream)
            process.send_signal(signal.SIGTERM)
            assert [*stream] == []
            assert stream.code() is grpc.StatusCode.OK
        assert process.wait(10) == 0
        assert "Traceback" not in process.stderr.read()
