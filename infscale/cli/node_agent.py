"""`infscale node-agent`: what one node's GPUs do, and for which pods, on a page for `infscale serve` and Prometheus."""

import argparse
import asyncio
import logging
import random
import signal
import time
from pathlib import Path
from typing import get_args

import uvloop

from infscale.cli.arguments import refuse_unreadable
from infscale.errors import ConfigError
from infscale.node_agent import pod_processes
from infscale.node_agent.agent import AgentSettings, NodeAgent
from infscale.node_agent.agent_server import AgentServer
from infscale.node_agent.kubelet import SOCKET, Kubelet
from infscale.node_agent.nvml import Nvml
from infscale.node_agent.page import NodeAgentCollector
from infscale.process import log
from infscale.process.listening import PLACE_FORM, listening_place
from infscale.process.tasks import running
from infscale.process.tls_files import TlsFiles
from infscale.sources.node_agent_names import PORT
from infscale.telemetry.own_metrics import OwnMetrics

_LOG = logging.getLogger(__name__)
_LEAST_SECONDS = 0.1
_MOST_SECONDS = 10.0
"""infscale uses what it scraped for 90 s: what was read long before would be too old."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = "GPU memory and utilisation by pod, for the node that it runs on; see docs/sources.md."
    default = AgentSettings()
    where = parser.add_argument_group("where")
    where.add_argument(
        "--listen", default=f"127.0.0.1:{PORT}", metavar="ADDRESS:PORT", help="of the page (default %(default)s)"
    )
    where.add_argument(
        "--tls-certificate", type=Path, metavar="FILE", help="PEM; with it the page is served over HTTPS"
    )
    where.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM")
    where.add_argument(
        "--client-ca", type=Path, metavar="FILE", help="PEM; only clients with a certificate of it are answered"
    )
    where.add_argument(
        "--kubelet-socket",
        type=Path,
        default=SOCKET,
        metavar="PATH",
        help="of the pod-resources API (default %(default)s)",
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--interval-seconds",
        type=float,
        default=default.interval_seconds,
        help="between two readings (default %(default)s)",
    )
    how.add_argument(
        "--timeout-seconds",
        type=float,
        default=default.timeout_seconds,
        help="for one GPU, or the kubelet, to answer (default %(default)s)",
    )
    how.add_argument(
        "--host-pid",
        action="store_true",
        help="it has the process ids of the node (hostPID): tell memory of GPUs that pods share by their processes",
    )
    how.add_argument("--log-level", choices=get_args(log.Level), default="info", help="(default %(default)s)")
    how.add_argument("--log-format", choices=get_args(log.LogFormat), default="text", help="(default %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read and serve until SIGTERM or SIGINT; raises `ConfigError` for bad arguments, `StartError` for a taken port."""
    place = listening_place(arguments.listen)
    if place is None:
        raise ConfigError("", "--listen", f"expected {PLACE_FORM}, got {arguments.listen!r}")
    tls = _tls(arguments)
    settings = AgentSettings(
        _seconds("--interval-seconds", arguments.interval_seconds),
        _seconds("--timeout-seconds", arguments.timeout_seconds),
    )
    log.configure(arguments.log_level, arguments.log_format)
    nvml = Nvml(pod_processes.pods_of if arguments.host_pid else None)
    uvloop.run(_serve(place, tls, Kubelet(arguments.kubelet_socket, settings.timeout_seconds), settings, nvml))
    return 0


def _tls(arguments: argparse.Namespace) -> TlsFiles | None:
    certificate, key, client_ca = arguments.tls_certificate, arguments.tls_key, arguments.client_ca
    if certificate is None:
        for flag, given in (("--tls-key", key), ("--client-ca", client_ca)):
            if given is not None:
                raise ConfigError("", flag, "goes with --tls-certificate")
        return None
    if key is None:
        raise ConfigError("", "--tls-certificate", "needs its key: give --tls-key")
    for flag, path in (("--tls-certificate", certificate), ("--tls-key", key), ("--client-ca", client_ca)):
        if path is not None:
            refuse_unreadable(flag, path)
    return TlsFiles(certificate, key, client_ca)


def _seconds(flag: str, value: float) -> float:
    if not _LEAST_SECONDS <= value <= _MOST_SECONDS:
        raise ConfigError("", flag, f"expected {_LEAST_SECONDS:g} to {_MOST_SECONDS:g}, got {value:g}")
    return value


async def _serve(
    place: tuple[str, int], tls: TlsFiles | None, kubelet: Kubelet, settings: AgentSettings, nvml: Nvml
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with kubelet:
        agent = NodeAgent(nvml, kubelet, settings, time.monotonic, random.Random())
        page = OwnMetrics([NodeAgentCollector(lambda: agent.view.at(time.monotonic(), settings.stale_seconds))])
        async with AgentServer(*place, tls, page) as server, running(agent.follow()):
            _LOG.info("serving", extra={"fields": {"page": f"{server.url}/metrics"}})
            await stop.wait()
