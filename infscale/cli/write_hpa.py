"""``infscale hpa POOL --slo ttft_p90=1s``: a manifest that scales a pool, with the reason for each number.

It writes to stdout, and changes nothing. Exit codes: 0 written, 1 the cluster cannot be asked, 2 wrong arguments.
"""

import argparse
import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from infscale.cli.arguments import add_cluster, cluster_of
from infscale.config.read import read_text
from infscale.discovery.workloads import WORKLOADS
from infscale.doctor.advice.advice_yaml import autoscaler, scaled_object
from infscale.doctor.advice.pool_facts import PoolFacts, of_cluster, of_state
from infscale.doctor.advice.scaling_advice import Limits, advised
from infscale.doctor.reading.cluster_reader import Scope, look, value_of_pool
from infscale.doctor.view.seen_scalers import ObjectRef
from infscale.documents.strict_document import load, quoted
from infscale.errors import ConfigError
from infscale.kube.api.client import KubeClient
from infscale.metrics.published.latency_goals import Goal, read_goals
from infscale.serving.configured import discovered

_DEFAULT_SCALER = "infscale-keda.infscale-system:9005"
_KINDS = {each.kind.lower(): each for each in WORKLOADS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = "Writes an HPA (or a ScaledObject) for a pool to stdout, and says why each number."
    parser.add_argument("pool", metavar="POOL", help="an InferencePool: its name, or NAMESPACE/NAME")
    parser.add_argument(
        "--slo", required=True, metavar="SLO", help="what is wanted, such as ttft_p90=1s or ttft_p90=1s,itl_p50=40ms"
    )
    parser.add_argument("--min", type=int, metavar="N", help="minReplicas (default: 1)")
    parser.add_argument("--max", type=int, metavar="N", help="maxReplicas (default: twice the pods there are now)")
    parser.add_argument("--target", metavar="KIND/NAME", help="the workload (default: the one behind the pool)")
    parser.add_argument("--keda", action="store_true", help="write a ScaledObject for infscale's external scaler")
    parser.add_argument(
        "--scaler", default=_DEFAULT_SCALER, metavar="HOST:PORT", help=f"with --keda (default: {_DEFAULT_SCALER})"
    )
    parser.add_argument("--discovery", type=Path, metavar="FILE", help="a discovery file instead of a cluster")
    parser.add_argument("-n", "--namespace", metavar="NS", help="the pool's namespace (default: all are looked at)")
    add_cluster(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the manifest."""
    goals = _goals(arguments.slo)
    target = None if arguments.target is None else _target(arguments.target)
    if arguments.discovery is not None:
        path: Path = arguments.discovery
        facts = of_state(discovered(load(read_text(path), str(path)), None), arguments.pool, target)
    else:
        # The Kubernetes client takes 47 MiB and is imported where there is a cluster.
        from infscale.kube.api.cluster_access import cluster

        facts = asyncio.run(_of_cluster(arguments, target, cluster(*cluster_of(arguments))))
    advice = advised(facts, goals, Limits(arguments.min, arguments.max), by_keda=arguments.keda)
    print(scaled_object(advice, _scaler(arguments.scaler)) if arguments.keda else autoscaler(advice), end="")
    return 0


def _goals(text: str) -> tuple[Goal, ...]:
    try:
        return read_goals(text)
    except ValueError as error:
        raise ConfigError("arguments", "--slo", str(error)) from None


def _target(text: str) -> ObjectRef:
    kind, _, name = text.partition("/")
    known = _KINDS.get(kind.lower())
    if known is None or not name:
        listed = ", ".join(each.kind for each in WORKLOADS)
        problem = f"expected KIND/NAME, with one of {listed}, got {quoted(text)}"
        raise ConfigError("arguments", "--target", problem)
    return ObjectRef(known.api_version, known.kind, name)


def _scaler(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError("arguments", "--scaler", f"expected HOST:PORT, got {quoted(text)}")
    return text


async def _of_cluster(
    arguments: argparse.Namespace, target: ObjectRef | None, connect: AbstractAsyncContextManager[KubeClient]
) -> PoolFacts:
    async with connect as client:
        view = await look(client, Scope(arguments.namespace), datetime.now(UTC).timestamp())
        facts = of_cluster(view, arguments.pool, target)
        group = facts.pool_version.partition("/")[0]
        seconds = await value_of_pool(client, facts.pool, group, "model_load_seconds")
    return replace(facts, load_seconds=seconds)
