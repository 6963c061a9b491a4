"""Whatever is wrong with a document, reading it ends in a `ConfigError` or well, and never otherwise."""

import random
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.config.read import read_config
from infscale.discovery.state import read_state
from infscale.documents.strict_document import from_plain, load, whole
from infscale.errors import ConfigError
from picker.epp_config.loader import load_picker_config

ROOT = Path(__file__).parents[2]
CASES = sorted((ROOT / "tests" / "cases" / "configs").iterdir())
PICKER = [yaml.safe_load(path.read_text()) for path in CASES]
PICKER.append(
    yaml.safe_load(
        """
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
featureGates: [dataLayer, flowControl=false]
plugins:
- {type: metrics-data-source, parameters: {scheme: https, path: /m, port: 9, clientCertPath: /c, clientKeyPath: /k}}
- type: core-metrics-extractor
  parameters:
    defaultEngine: a
    engineConfigs: [{name: a, queuedRequestsSpec: q, customMetrics: [{attributeKey: heat, metricSpec: h}]}]
- {type: endpoint-attribute-filter, parameters: {attribute: heat, algorithm: {type: threshold, threshold: {operator: LessThan, value: 3}}}}
- {type: label-selector-filter, parameters: {matchExpressions: [{key: a, operator: In, values: [b]}]}}
- {type: utilization-filter, parameters: {conditions: [{metric: active-requests, maxValue: 1}]}}
- type: disaggregatedset-rollout-screener
  parameters: {scope: {labelSelector: a=b}, revisionGating: {mode: sum, requiredRoles: [a]}, headerSelectors: [{name: a, headerName: b, labelKey: c, mode: strict}]}
- {type: request-attribute-reporter, parameters: {attributes: [{key: {name: a}, expression: usage.total_tokens}]}}
- {type: header-profile-handler, parameters: {defaultProfile: a}}
- {type: utilization-detector, parameters: {queueDepthThreshold: 5, metricsStalenessThreshold: 5s}}
- {type: predicted-latency-producer, parameters: {sloBufferFactor: 2}}
- {type: approx-prefix-cache-producer, parameters: {blockSizeTokens: 64}}
- {type: file-discovery, parameters: {path: a, watchFile: true}}
- {type: probabilistic-admitter}
- {type: weighted-random-picker}
- {type: openai-parser}
schedulingProfiles: [{name: a, plugins: [{pluginRef: endpoint-attribute-filter, weight: 2}, {pluginRef: weighted-random-picker}]}, {name: b}]
requestHandler: {parsers: [{pluginRef: openai-parser}], propagatePriority: false}
flowControl: {saturationDetector: {pluginRef: utilization-detector}}
dataLayer:
  discovery: {endpoints: {pluginRef: file-discovery}}
  crossReplica: {syncInterval: 1s}
  sources: [{pluginRef: metrics-data-source, extractors: [{pluginRef: core-metrics-extractor}]}]
"""  # noqa: E501
    )
)
SERVE = yaml.safe_load(
    """
discovery: {file: d, default_pool: a/b}
scrape: {interval_seconds: 1, dialects: [{name: a, waiting: q, histograms: {queue_time: h}}], dialect: a}
dcgm: {targets: ["http://a/m"]}
pools: {a/b: {window_seconds: 60, saturation: {kind: hybrid, max_in_flight_tokens: 5}}}
metrics: [{name: x_ratio, formula: waiting_requests / 3, aggregation: mean}]
picker: {listen: "0.0.0.0:1", preset: reference, tls: {certificate: a, key: b, client_ca: c}}
adapter: {listen: "127.0.0.1:2", tls: {certificate: a, key: b}}
telemetry: {listen: "127.0.0.1:3"}
log: {level: info}
"""
)
DISCOVERY = yaml.safe_load((ROOT / "manifests" / "examples" / "discovery.yaml").read_text())
JUNK: tuple[Any, ...] = (None, True, -1, 0, 3.5, 1e300, "", "x", "0", "\0", "a/b", [], {}, ["x"], {"x": 1}, [[]], [{}])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a document but its root."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in pairs for found in ((*path, key), *places(item, (*path, key)))]


def mutate(document: Any, rng: random.Random, times: int) -> Any:
    """`document` with some values replaced, removed, doubled or misspelt."""
    found = deepcopy(document)
    for _ in range(times):
        every = places(found)
        if not every:
            break
        *path, key = rng.choice(every)
        parent = found
        for step in path:
            parent = parent[step]
        match rng.randrange(4):
            case 0:
                parent[key] = deepcopy(rng.choice(JUNK))
            case 1:
                del parent[key]
            case 2 if isinstance(parent, list):
                parent.append(deepcopy(parent[key]))
            case _ if isinstance(parent, dict):
                parent[f"{key}x"] = parent.pop(key)
            case _:
                parent[key] = deepcopy(rng.choice(JUNK))
    return found


def read_picker(document: Any) -> None:
    load_picker_config(yaml.safe_dump(document, allow_unicode=True), "f")


def read_serve(document: Any) -> None:
    read_config(load(yaml.safe_dump(document), "f"), Path("/"))


def read_discovery(document: Any) -> None:
    whole(load(yaml.safe_dump(document), "f"), read_state)


def read_discovery_at_first(document: Any) -> None:
    read_state(from_plain(document, "f"))


@pytest.mark.parametrize(
    ("documents", "read"),
    [
        (PICKER, read_picker),
        ([SERVE], read_serve),
        ([DISCOVERY], read_discovery),
        ([DISCOVERY], read_discovery_at_first),
    ],
    ids=["picker", "serve", "discovery", "discovery until the first mistake"],
)
@pytest.mark.timeout(60)
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), times=st.integers(1, 6))
def test_a_damaged_document_is_refused_or_read(
    documents: list[Any], read: Callable[[Any], None], seed: int, times: int
) -> None:
    rng = random.Random(seed)
    document = mutate(rng.choice(documents), rng, times)
    with suppress(ConfigError):
        read(document)


@pytest.mark.parametrize("document", [*PICKER[-1:]])
def test_the_whole_document_can_be_used(document: Any) -> None:
    read_picker(document)


def test_the_configuration_can_be_used() -> None:
    read_serve(SERVE)
