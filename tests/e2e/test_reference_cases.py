"""The reference's ext_proc cases against a running infscale: scraped pages, discovered objects, real gRPC."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from aiohttp import web

from infscale.cli.serving import Serving, serving
from infscale.config import ServeConfig, load_config
from infscale.endpoint import ObjectKey
from picker.proto import ext_proc_pb2 as pb
from tests.picker.transport.gateway import Stream, open_stream
from tests.picker.vector_checks import CHECKS, PLAYED, messages
from tests.picker.vector_pool import FIXTURE, NAMESPACE, Case

POOL: str = FIXTURE["pool"]["name"]
PAGE = """\
vllm:num_requests_waiting{{model_name="m"}} {waiting_queue}
vllm:num_requests_running{{model_name="m"}} 0
vllm:kv_cache_usage_perc{{model_name="m"}} {kv_cache_usage}
vllm:lora_requests_info{{max_lora="0",running_lora_adapters="{adapters}",waiting_lora_adapters=""}} 1.7e9
"""


def on_loopback(case: Case) -> Case:
    """The case with its pods at addresses every machine has."""
    moved: Case = json.loads(json.dumps(case).replace("192.168.1.", "127.168.1."))
    return moved


@contextlib.asynccontextmanager
async def metrics_page(pod: Case) -> AsyncGenerator[int, None]:
    """The metrics page of `pod` at its address; the port it is on."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=PAGE.format(**pod, adapters=",".join(pod["active_models"])))

    app = web.Application()
    app.router.add_get("/metrics", page)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, pod["ip"], 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def objects() -> list[dict[str, Any]]:
    """The fixture's pool, objectives and rewrites as their definitions write them."""
    reference = {"poolRef": {"name": POOL}}
    pool = {"selector": {"matchLabels": FIXTURE["pool"]["selector"]}, "targetPorts": [{"number": 8000}]}
    found: list[tuple[str, str, str, dict[str, Any]]] = [
        ("inference.networking.k8s.io/v1", "InferencePool", POOL, pool)
    ]
    for name, priority in FIXTURE["objectives"].items():
        found.append(("llm-d.ai/v1alpha2", "InferenceObjective", name, {**reference, "priority": priority}))
    for rewrite in FIXTURE["rewrites"]:
        rule = {
            "matches": [{"model": {"type": "Exact", "value": rewrite["match"]["model"]}}],
            "targets": rewrite["targets"],
        }
        found.append(("llm-d.ai/v1alpha2", "InferenceModelRewrite", rewrite["name"], {**reference, "rules": [rule]}))
    return [
        {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
        for version, kind, name, spec in found
    ]


def configuration(folder: Path, case: Case, ports: list[int], transport: str) -> ServeConfig:
    """The files an operator writes for the case's pods and scheduling."""
    endpoints = [
        {
            "name": pod["name"],
            "address": pod["ip"],
            "port": str(pod["port"]),
            "metricsPort": port,
            "labels": FIXTURE["pool"]["selector"],
        }
        for pod, port in zip(case["pods"], ports, strict=True)
    ]
    wanted = case["expect"].get("dynamic_metadata_has", {}).get("envoy.lb", ())
    documents = {
        "discovery.yaml": {"endpoints": endpoints, "objects": objects()},
        "picker.yaml": case.get("config") or FIXTURE["config"],
        "serve.yaml": {
            "discovery": {"file": "discovery.yaml"},
            "scrape": {"interval_seconds": 0.1},
            "picker": {
                "listen": "127.0.0.1:0",
                "config_file": "picker.yaml",
                "error_format": "reference",
                "transport": transport,
                "emit_endpoint_scores": "x-gateway-destination-endpoint-scores" in wanted,
            },
            "adapter": {"listen": "127.0.0.1:0"},
            "telemetry": {"listen": "127.0.0.1:0"},
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document))
    return load_config(folder / "serve.yaml")


async def scraped(running: Serving, pods: int) -> None:
    """Wait until every pod may be picked; the test's timeout is the limit."""
    loop = asyncio.get_running_loop()
    snapshot = running.store.snapshot(ObjectKey(NAMESPACE, POOL))
    while snapshot is None or int(snapshot.eligible(loop.time()).sum()) < pods:
        await asyncio.sleep(0.02)
        snapshot = running.store.snapshot(ObjectKey(NAMESPACE, POOL))


async def answers(stream: Stream, case: Case) -> list[pb.ProcessingResponse]:
    """Everything the picker answers to the case's messages until it has nothing more to say."""
    for message in messages(case["request"]):
        await stream.write(message.SerializeToString())
    await stream.done_writing()
    return [pb.ProcessingResponse.FromString(data) async for data in stream]


@pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
@pytest.mark.parametrize("case", PLAYED, ids=[case["name"] for case in PLAYED])
async def test_a_running_picker_answers_as_the_reference(tmp_path: Path, case: Case, transport: str) -> None:
    case = on_loopback(case)
    async with contextlib.AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(metrics_page(pod)) for pod in case["pods"]]
        config = await asyncio.to_thread(configuration, tmp_path, case, ports, transport)
        running = await stack.enter_async_context(serving(config))
        assert running.transport is not None
        await scraped(running, len(case["pods"]))
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{running.transport.port}")
        found = await answers(open_stream(await stack.enter_async_context(channel)), case)
        CHECKS[case["expect"]["kind"]](found, case["expect"])
