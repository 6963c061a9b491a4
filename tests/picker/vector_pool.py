"""The pool the reference's ext_proc cases are played against: real store, real director, real configuration."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from infscale.client_headers import TRUSTABLE, ignored
from infscale.endpoint import (
    DiscoveryState,
    Endpoint,
    EndpointKey,
    Objective,
    ObjectKey,
    Pool,
    Rewrite,
    RewriteRule,
    RewriteTarget,
)
from infscale.metrics.sample import EngineSample, LoraState
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.epp_config.loader import load_picker_config
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.ext_proc.headers import DESTINATION_SCORES
from picker.parsing import ParserTable
from picker.request import Decision, Headers, Held, InferenceRequest, Outcome, ParsedBody, Rejection, Verdict
from tests.fakes.samples import engine_sample

Case = dict[str, Any]

_DOCUMENT: Case = json.loads(Path(__file__).parents[1].joinpath("vectors", "ext_proc_cases.json").read_text())
CASES: list[Case] = _DOCUMENT["cases"]
FIXTURE: Case = _DOCUMENT["fixture"]
NAMESPACE = "default"
_POOL = Pool(ObjectKey(NAMESPACE, FIXTURE["pool"]["name"]), FIXTURE["pool"]["selector"])
# The reference's fixture leaves open how many LoRA adapters fit, so that no pod has room for another.
_MAX_ADAPTERS = 0


class RecordingDirector:
    """The real director, remembering what it decided and heard."""

    def __init__(self, director: PoolDirector) -> None:
        self._director = director
        self.decisions: list[tuple[InferenceRequest, Decision]] = []
        self.outcomes: list[Outcome] = []

    def direct(self, request: InferenceRequest, now: float) -> Verdict | Held:
        answer = self._director.direct(request, now)
        if isinstance(answer, Decision):
            self.decisions.append((request, answer))
        return answer

    def refused(self, headers: Headers, body: ParsedBody | None, rejection: Rejection) -> None:
        self._director.refused(headers, body, rejection)

    def overheard(self, outcome: Outcome) -> None:
        self._director.overheard(outcome)

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        return self._director.response_started(decision, status, served, now)

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        self.outcomes.append(outcome)
        self._director.finished(request, decision, outcome, now)


class VectorPool:
    """One case's pods, scraped at second 0, and a director of them."""

    def __init__(self, case: Case) -> None:
        self.store = MetricStore("vectors")
        state = _state(case["pods"])
        self.store.sync(state)
        for pod, endpoint in zip(case["pods"], state.endpoints, strict=True):
            self.store.record_scrape(endpoint.key, _sample(pod), 0.0)
        source = orjson.dumps(case.get("config") or FIXTURE["config"]).decode()
        config = load_picker_config(source, "case")
        # The reference has a flag for scores; a case that has it expects them.
        wanted = case["expect"].get("dynamic_metadata_has", {}).get("envoy.lb", ())
        settings = DirectorSettings(
            emit_scores=DESTINATION_SCORES in wanted, trusted_headers=frozenset(TRUSTABLE), unknown_objectives="default"
        )
        director = PoolDirector(_POOL.key, config, self.store, random.Random(1), settings)
        director.sync(state)
        self.director = RecordingDirector(director)
        self.settings = ExchangeSettings(
            error_format="reference",
            echo_request_headers=True,
            buffer_responses=True,
            parsers=ParserTable.of(config.parsers),
            attributes=config.reporting.attributes,
            ignored_headers=ignored(TRUSTABLE),
        )

    def exchange(self) -> Exchange:
        return Exchange(self.settings, self.director, random.Random(2))

    def in_flight(self) -> float:
        snapshot = self.store.snapshot(_POOL.key)
        assert snapshot is not None
        return float(snapshot.in_flight_requests.sum())


def labels_of(pod: Mapping[str, Any]) -> dict[str, str]:
    """The labels of a pod: those that the pool selects, and its own."""
    return {**FIXTURE["pool"]["selector"], **pod.get("labels", {})}


def _state(pods: list[Mapping[str, Any]]) -> DiscoveryState:
    endpoints = [Endpoint(EndpointKey(NAMESPACE, pod["name"]), pod["ip"], pod["port"], labels_of(pod)) for pod in pods]
    objectives = [
        Objective(ObjectKey(NAMESPACE, name), priority, _POOL.key.name)
        for name, priority in FIXTURE["objectives"].items()
    ]
    rewrites = [
        Rewrite(ObjectKey(NAMESPACE, each["name"]), _POOL.key.name, (_rule(each),)) for each in FIXTURE["rewrites"]
    ]
    return DiscoveryState(tuple(endpoints), (_POOL,), tuple(objectives), tuple(rewrites))


def _rule(rewrite: Mapping[str, Any]) -> RewriteRule:
    targets = tuple(RewriteTarget(target["modelRewrite"], target.get("weight")) for target in rewrite["targets"])
    return RewriteRule((rewrite["match"]["model"],), targets)


def _sample(pod: Mapping[str, Any]) -> EngineSample:
    lora = LoraState(frozenset(pod["active_models"]), frozenset(), _MAX_ADAPTERS)
    return engine_sample(float(pod["waiting_queue"]), 0.0, pod["kv_cache_usage"], lora=lora, fingerprint=1)
