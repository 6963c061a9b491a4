"""The example that operators apply, on this machine: the same documents, with other addresses and limits."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.gateway.running import host_provider

EXAMPLES = Path(__file__).parents[2] / "manifests" / "examples"
Document = dict[str, Any]

_ENVOY_GATEWAY = "gateway.envoyproxy.io"


@dataclass(frozen=True)
class Here:
    """Where things are on this machine; `idle` replaces its `streamIdleTimeout`; `trusted` headers are kept."""

    listen: int
    picker: int
    servers: Sequence[int]
    tls: bool = False
    idle: str | None = None
    trusted: Sequence[str] = ()


def example(*names: str) -> list[Document]:
    """The documents of the examples."""
    files = [EXAMPLES / f"{each}.yaml" for each in names]
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def on_this_machine(documents: Sequence[Document], here: Here) -> list[Document]:
    """`documents` for an Envoy Gateway without a cluster: it has no Services, so each becomes a Backend of its name.

    All are in one namespace: without a cluster Envoy Gateway loses the kinds of policies, and no ReferenceGrant fits.
    """
    made = [copy.deepcopy(document) for document in documents if document["kind"] != "ReferenceGrant"]
    for document in made:
        _names_backends(document)
        match document["kind"]:
            case "GatewayClass":
                document["spec"]["parametersRef"] = {
                    "group": _ENVOY_GATEWAY,
                    "kind": "EnvoyProxy",
                    "name": "host",
                    "namespace": "envoy-gateway-system",
                }
            case "Gateway":
                document["spec"]["listeners"][0]["port"] = here.listen
            case "ClientTrafficPolicy":
                removed = document["spec"]["headers"]["earlyRequestHeaders"]["remove"]
                removed[:] = [name for name in removed if name not in here.trusted]
                if here.idle is not None:
                    document["spec"]["timeout"]["http"]["streamIdleTimeout"] = here.idle
            case _:
                pass
    picker: Document = {"appProtocols": ["gateway.envoyproxy.io/h2c"]}
    if here.tls:
        picker = {"tls": {"insecureSkipVerify": True}}
    return [
        *made,
        _object("EnvoyProxy", "host", {"provider": host_provider(), "concurrency": 1}, "envoy-gateway-system"),
        _object("Backend", "vllm", {"endpoints": [_endpoint(port) for port in here.servers]}),
        _object("Backend", "infscale-picker", {"endpoints": [_endpoint(here.picker)], **picker}),
    ]


def _names_backends(document: Any) -> None:
    if isinstance(document, list):
        for each in document:
            _names_backends(each)
    elif isinstance(document, Mapping):
        for reference in document.get("backendRefs", ()):
            reference.pop("namespace", None)
            del reference["port"]
            reference.update(group=_ENVOY_GATEWAY, kind="Backend")
        for each in document.values():
            _names_backends(each)


def _object(kind: str, name: str, spec: Document, namespace: str = "llm") -> Document:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": f"{_ENVOY_GATEWAY}/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def _endpoint(port: int) -> Document:
    return {"ip": {"address": "127.0.0.1", "port": port}}
