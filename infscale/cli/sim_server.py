"""``infscale sim-server``: simulated model servers until interrupted."""

import argparse
import asyncio
import random
import signal
from datetime import UTC, datetime
from pathlib import Path

import uvloop
import yaml

from infscale.errors import ConfigError, StartError
from infscale.sim.engine.coefficients import COEFFICIENT_SETS, coefficient_set
from infscale.sim.engine.steps import EngineSettings
from infscale.sim.http.simulated_servers import SimFleet, SimServerSettings
from infscale.sim.pages.engine_pages import EngineSkin

_DEFAULT_SET = "llama-3.1-8b-h100"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = "Model servers without a model: vLLM's API and metrics around a simulated engine."
    parser.epilog = f"Coefficient sets: {', '.join(sorted(COEFFICIENT_SETS))}."
    where = parser.add_argument_group("where")
    where.add_argument("--address", default="127.0.0.1", help="IP address to listen on (default %(default)s)")
    where.add_argument(
        "--port", type=int, default=8000, help="first port; further servers take the next (0: free ones)"
    )
    where.add_argument("--servers", type=int, default=1, help="how many servers to run (default %(default)s)")
    where.add_argument("--name", default="sim", help="servers are called NAME-0, NAME-1 … (default %(default)s)")
    where.add_argument("--namespace", default="default", help="their namespace (default %(default)s)")
    where.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="a label of every server")
    where.add_argument("--endpoints-file", type=Path, metavar="PATH", help="write the servers as a discovery file")
    what = parser.add_argument_group("what")
    what.add_argument("--model", help="served model name (default: the coefficient set's)")
    what.add_argument(
        "--coefficients", "--gpu", default=_DEFAULT_SET, metavar="NAME", help="coefficient set (default %(default)s)"
    )
    what.add_argument("--engine-skin", choices=[skin.value for skin in EngineSkin], default="vllm", help="metric names")
    what.add_argument(
        "--lora", action="append", default=[], metavar="NAME", help="a LoRA adapter loaded from the start"
    )
    what.add_argument(
        "--data-parallel-size", type=int, default=1, help="engines behind each port (default %(default)s)"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument("--startup-seconds", type=float, default=0.0, help="not ready before (default %(default)s)")
    limits.add_argument("--speed", type=float, default=1.0, help="above 1: steps take less time by this factor")
    limits.add_argument("--max-num-seqs", type=int, default=256, help="largest batch (default %(default)s)")
    limits.add_argument(
        "--max-num-batched-tokens", type=int, default=8192, help="tokens per step (default %(default)s)"
    )
    limits.add_argument(
        "--max-waiting", type=int, help="longest queue; beyond it requests get 429 (default: unbounded)"
    )
    limits.add_argument("--max-loras", type=int, default=4, help="LoRA adapters in one batch (default %(default)s)")
    limits.add_argument("--num-blocks", type=int, help="KV-cache blocks (default: the coefficient set's)")
    limits.add_argument("--max-model-len", type=int, default=131_072, help="longest context (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of ids and of faults that hit some requests")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the servers until SIGINT or SIGTERM; raises `ConfigError` for bad arguments, `StartError` for taken ports."""
    uvloop.run(_serve(_settings(args), args.seed, args.endpoints_file))
    return 0


def _settings(args: argparse.Namespace) -> list[SimServerSettings]:
    chosen = coefficient_set(args.coefficients)
    if args.servers < 1:
        raise ConfigError("", "--servers", f"is at least 1, not {args.servers}")
    last = args.port + args.servers - 1 if args.port else 0
    if args.port < 0 or last > 65535:
        raise ConfigError("", "--port", f"{args.servers} servers from port {args.port} on do not fit into 0–65535")
    try:
        engine = EngineSettings(
            num_blocks=chosen.num_blocks if args.num_blocks is None else args.num_blocks,
            block_size=chosen.block_size,
            max_num_seqs=args.max_num_seqs,
            max_num_batched_tokens=args.max_num_batched_tokens,
            max_waiting=args.max_waiting,
            max_loras=args.max_loras,
            startup_seconds=args.startup_seconds,
            speed=args.speed,
        )
        return [
            SimServerSettings(
                name=f"{args.name}-{index}",
                coefficients=chosen,
                engine=engine,
                namespace=args.namespace,
                model=args.model,
                address=args.address,
                port=args.port + index if args.port else 0,
                skin=EngineSkin(args.engine_skin),
                ranks=args.data_parallel_size,
                max_model_len=args.max_model_len,
                loras=tuple(args.lora),
                labels=_labels(args.label),
            )
            for index in range(args.servers)
        ]
    except ValueError as error:
        raise ConfigError("", "", str(error)) from error


def _labels(pairs: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise ConfigError("", "--label", "is KEY=VALUE")
        labels[key] = value
    return labels


async def _serve(settings: list[SimServerSettings], seed: int, endpoints_file: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with SimFleet(settings, random.Random(seed), _unix_seconds) as fleet:
        if endpoints_file is not None:
            await asyncio.to_thread(_write, endpoints_file, fleet)
        for server in fleet.servers:
            one = server.settings
            print(f"{one.name} serves {one.served_model} on http://{one.address}:{server.port}", flush=True)
        await stop.wait()


def _write(path: Path, fleet: SimFleet) -> None:
    """Replace the file in one step, so that a reader never sees half of it."""
    text = yaml.safe_dump(fleet.discovery_document(), sort_keys=False)
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise StartError(f"cannot write {path}: {error.strerror}; choose another --endpoints-file") from error


def _unix_seconds() -> float:
    return datetime.now(UTC).timestamp()
