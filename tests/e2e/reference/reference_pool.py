"""What an operator sets up for the reference's ext_proc cases: files, pods on loopback, a pool that is scraped."""

import asyncio
import json
from pathlib import Path
from typing import Any

from infscale.client_headers import TRUSTABLE
from infscale.config.read import load_config
from infscale.config.settings import ServeConfig
from infscale.endpoint import ObjectKey
from infscale.serving.composition import Serving
from tests.picker.vector_pool import FIXTURE, NAMESPACE, Case, labels_of

POOL: str = FIXTURE["pool"]["name"]
_PAGE = """\
vllm:num_requests_waiting{{model_name="m"}} {waiting_queue}
vllm:num_requests_running{{model_name="m"}} 0
vllm:kv_cache_usage_perc{{model_name="m"}} {kv_cache_usage}
vllm:lora_requests_info{{max_lora="0",running_lora_adapters="{adapters}",waiting_lora_adapters=""}} 1.7e9
"""


def page_of(pod: Case) -> str:
    """The metrics page of a pod."""
    return _PAGE.format(**pod, adapters=",".join(pod["active_models"]))


def on_loopback(case: Case, port: int = 8000) -> Case:
    """The case with its pods at addresses every machine has, all on `port`."""
    text = json.dumps(case).replace("192.168.1.", "127.168.1.")
    moved: Case = json.loads(text.replace(":8000", f":{port}").replace('"port": 8000', f'"port": {port}'))
    return moved


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
            "labels": labels_of(pod),
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
                "trusted_headers": list(TRUSTABLE),
                "unknown_objectives": "default",
                "emit_endpoint_scores": "x-gateway-destination-endpoint-scores" in wanted,
            },
            "adapter": {"listen": "127.0.0.1:0"},
            "telemetry": {"listen": "127.0.0.1:0", "reference_names": True},
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
