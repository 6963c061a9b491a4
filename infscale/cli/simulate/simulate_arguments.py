"""What the command line says of an experiment: servers, delays, faults, goals, policies, seeds."""

import argparse
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

from infscale.cli.arguments import refuse_unreadable
from infscale.config.read import read_text
from infscale.doctor.replay.replayed_hpa import ReplayedHpa, read_hpa
from infscale.documents.strict_document import load, quoted, seconds_of_duration
from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError
from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.load.named.workload_choice import choose_workload
from infscale.sim.load.traffic import LoadTarget
from infscale.sim.settings import Fault, FaultKind
from infscale.simulate.many_runs import Experiment
from infscale.simulate.policy import named_policy
from infscale.simulate.scenario import POOL, Delays, Goal, PlannedFault, Scaling, Scenario, ServerKind

_SERVERS = re.compile(r"(?P<count>\d{1,4})(?:x(?P<set>[^@,]+))?(?:@(?P<speed>\d*\.?\d+))?")
_FAULT = re.compile(r"(?P<kind>[a-z_-]+)@(?P<server>\d{1,4})(?::(?P<more>.*))?")
_MAX_SERVERS = 1000
_MAX_SEEDS = 1000
_LONGEST_CONTEXT = 131_072


def experiment(arguments: argparse.Namespace) -> Experiment:
    """What is to be simulated; reads the files that are named. Raises `ConfigError`."""
    chosen = choose_workload(arguments.workload or ["chats"])
    usual = f"{chosen.fleet.servers}x{chosen.fleet.coefficients}"
    servers = server_kinds(arguments.servers or usual, chosen.fleet.coefficients)
    hpa = _hpa(arguments.hpa)
    pool = POOL if hpa is None else _pool_of(hpa)
    model = arguments.model or (None if hpa is None else _model_of(hpa)) or servers[0].coefficients.model
    room = min(each.settings(0.0).capacity_tokens for each in servers)
    target = LoadTarget(model, min(room, _LONGEST_CONTEXT), limited=not arguments.no_limits)
    try:
        scenario = Scenario(
            chosen.traffic(target, trace_text),
            servers,
            replace(Delays(), **_durations("--delay", arguments.delay, [each.name for each in fields(Delays)])),
            destinations=arguments.destinations,
            response_bodies=arguments.response_bodies,
            faults=tuple(planned_fault(each) for each in arguments.fault),
            scaling=None if hpa is None else _scaling(arguments, hpa),
            goal=Goal(**_durations("--slo", arguments.slo, [each.name for each in fields(Goal)])),
            goal_headers=arguments.slo_headers,
            priorities=_priorities(arguments.priority),
            known_gpus=arguments.gpu_labels,
            patience_seconds=_duration("--patience", arguments.patience),
            warmup_seconds=_duration("--warmup", arguments.warmup, least=0.0),
            scrape_seconds=None if arguments.scrape is None else _duration("--scrape", arguments.scrape, least=0.01),
            pool=pool,
            served_model=model,
        )
    except ValueError as error:
        raise ConfigError("arguments", "", str(error)) from None
    policies = tuple(named_policy(each) for each in arguments.policy or ["infscale", "reference"])
    _check_distinct("--policy", [each.name for each in policies])
    return Experiment(scenario, policies, seeds_of(arguments.seeds))


def server_kinds(text: str, usual_set: str) -> tuple[ServerKind, ...]:
    """Servers as ``4xSET@0.5,4``: how many, of which coefficient set (else `usual_set`), how fast."""
    kinds: list[ServerKind] = []
    for part in text.split(","):
        found = _SERVERS.fullmatch(part.strip())
        if found is None or not int(found["count"]):
            raise ConfigError("arguments", "--servers", f"expected such as 8 or 4xSET,4xSET@0.5, got {quoted(part)}")
        try:
            kind = ServerKind(coefficient_set(found["set"] or usual_set), float(found["speed"] or 1))
        except ConfigError as error:
            raise ConfigError("arguments", "--servers", error.problem) from None
        except ValueError as error:
            raise ConfigError("arguments", "--servers", f"{part}: {error}") from None
        kinds += [kind] * int(found["count"])
    if len(kinds) > _MAX_SERVERS:
        raise ConfigError("arguments", "--servers", f"expected at most {_MAX_SERVERS}, got {len(kinds)}")
    return tuple(kinds)


def planned_fault(text: str) -> PlannedFault:
    """A fault as ``KIND@SERVER:at=10s,for=30s,ratio=0.5``. Raises `ConfigError`."""
    found = _FAULT.fullmatch(text)
    kinds = {each.value.replace("_", "-"): each for each in FaultKind}
    kind = None if found is None else kinds.get(found["kind"].replace("_", "-"))
    if found is None or kind is None:
        problem = f"expected KIND@SERVER:at=10s,for=30s with one of {', '.join(kinds)}, got {quoted(text)}"
        raise ConfigError("arguments", "--fault", problem)
    given = _pairs("--fault", found["more"] or "", ("at", "for", "ratio", "status", "after"))
    try:
        fault = Fault(
            kind,
            _duration("--fault", given["for"]) if "for" in given else None,
            int(given.get("status", "500")),
            int(given.get("after", "3")),
            float(given.get("ratio", "1")),
        )
    except ValueError as error:
        raise ConfigError("arguments", "--fault", f"{text}: {error}") from None
    at = _duration("--fault", given["at"], least=0.0) if "at" in given else 0.0
    return PlannedFault(at, int(found["server"]), fault)


def described(chosen: Experiment, words: Sequence[str]) -> Mapping[str, object]:
    """What was simulated, with all that is needed to have it again; `words` are those of the command line."""
    scenario = chosen.scenario
    scaling = scenario.scaling
    return {
        "command": ["infscale", "simulate", *words],
        "traffic": dict(scenario.traffic.description()),
        "servers": [_server(each) for each in scenario.servers],
        "model": scenario.model,
        "pool": str(scenario.pool),
        "delays_seconds": asdict(scenario.delays),
        "scrape_seconds": scenario.scrape_seconds,
        "destinations": scenario.destinations,
        "retries": scenario.retries,
        "response_bodies": scenario.response_bodies,
        "faults": [_fault(each) for each in scenario.faults],
        "hpa": _scaled(scaling) if isinstance(scaling, Scaling) else None,
        "goal_seconds": asdict(scenario.goal),
        "goal_headers": scenario.goal_headers,
        "priorities": dict(scenario.priorities),
        "known_gpus": scenario.known_gpus,
        "patience_seconds": scenario.patience_seconds,
        "warmup_seconds": scenario.warmup_seconds,
        "policies": [
            {"name": each.name, "configuration": each.text, "scrape_seconds": each.scrape_seconds}
            for each in chosen.policies
        ],
        "seeds": list(chosen.seeds),
    }


def _server(kind: ServerKind) -> Mapping[str, object]:
    return {"coefficients": asdict(kind.coefficients), "speed": kind.speed, "engine": asdict(kind.settings(0.0))}


def _fault(planned: PlannedFault) -> Mapping[str, object]:
    fault = planned.fault
    more = {"seconds": fault.seconds, "status": fault.status, "after_tokens": fault.after_tokens, "ratio": fault.ratio}
    return {"kind": fault.kind.value, "at_seconds": planned.at_seconds, "server": planned.server, **more}


def _scaled(scaling: Scaling) -> Mapping[str, object]:
    hpa = scaling.hpa
    return {
        "name": str(hpa.key),
        "metrics": [{"type": each.form, "name": each.name, "target_milli": each.target_milli} for each in hpa.metrics],
        "replicas": [hpa.bounds.min_replicas, hpa.bounds.max_replicas],
        "sync_seconds": scaling.sync_seconds,
        "start_seconds": scaling.start_seconds,
        "grace_seconds": scaling.grace_seconds,
    }


def _hpa(path: Path | None) -> ReplayedHpa | None:
    if path is None:
        return None
    refuse_unreadable("--hpa", path)
    return read_hpa(load(read_text(path), str(path)))


def _scaling(arguments: argparse.Namespace, hpa: ReplayedHpa) -> Scaling:
    start = arguments.start
    return Scaling(
        hpa,
        _duration("--sync", arguments.sync),
        None if start is None else _duration("--start", start, least=0.0),
        _duration("--grace", arguments.grace, least=0.0),
    )


def _pool_of(hpa: ReplayedHpa) -> ObjectKey:
    """The pool that the HPA's metrics are of, as far as they say; its namespace is the HPA's."""
    named = [each.described.name for each in hpa.metrics if each.described and each.described.kind == "InferencePool"]
    named += [each.labels["pool"] for each in hpa.metrics if "pool" in each.labels]
    return ObjectKey(hpa.key.namespace, named[0] if named else POOL.name)


def _model_of(hpa: ReplayedHpa) -> str | None:
    return next((each.labels["model"] for each in hpa.metrics if "model" in each.labels), None)


def trace_text(path: str) -> str:
    """The text of the trace that a workload names, of any size. Raises `ConfigError`."""
    file = Path(path)
    refuse_unreadable("--workload", file, "arguments")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(path, "", f"expected UTF-8 text, byte {error.start + 1} is none") from None


def seeds_of(text: str) -> tuple[int, ...]:
    """``5``: the seeds 1 to 5; ``3,7``: these."""
    parts = text.split(",")
    if not all(part.isdecimal() and len(part) < 10 for part in parts) or not int(parts[0]) >= 1:
        raise ConfigError("arguments", "--seeds", f"expected a number of seeds, or seeds as 3,7, got {quoted(text)}")
    seeds = tuple(map(int, parts)) if len(parts) > 1 else tuple(range(1, int(text) + 1))
    if len(seeds) > _MAX_SEEDS:
        raise ConfigError("arguments", "--seeds", f"expected at most {_MAX_SEEDS}")
    _check_distinct("--seeds", [str(each) for each in seeds])
    return seeds


def _check_distinct(flag: str, names: Sequence[str]) -> None:
    twice = next((each for each in names if names.count(each) > 1), None)
    if twice is not None:
        raise ConfigError("arguments", flag, f"{twice} is there twice")


def _priorities(given: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in given:
        name, _, number = each.partition("=")
        try:
            found[name] = int(number)
        except ValueError:
            problem = f"expected CLASS=NUMBER such as batch=-1, got {quoted(each)}"
            raise ConfigError("arguments", "--priority", problem) from None
    return found


def _durations(flag: str, text: str | None, known: Sequence[str]) -> dict[str, float]:
    least = 0.0 if flag == "--delay" else 1e-6
    return {name: _duration(flag, value, least) for name, value in _pairs(flag, text or "", known).items()}


def _pairs(flag: str, text: str, known: Sequence[str]) -> dict[str, str]:
    """``name=value,name=value`` with names that are known, each once."""
    found: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if name not in known or not equals or name in found:
            problem = f"expected NAME=VALUE with {', '.join(known)}, each once, got {quoted(part)}"
            raise ConfigError("arguments", flag, problem)
        found[name] = value
    return found


def _duration(flag: str, text: str, least: float = 0.001) -> float:
    """Seconds, as ``1.5``, ``50ms`` or ``2m``."""
    seconds = _plain(text, float) if _plain(text, float) is not None else seconds_of_duration(text)
    if seconds is None or not least <= seconds < math.inf:
        problem = f"expected a duration of at least {least:g} s such as 50ms or 2m, got {quoted(text)}"
        raise ConfigError("arguments", flag, problem)
    return seconds


def _plain(text: str, read: Callable[[str], float]) -> float | None:
    try:
        return read(text)
    except ValueError:
        return None
