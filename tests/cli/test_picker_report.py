"""A usable `EndpointPickerConfig` is said to mean something, in words and with places."""

import pytest

from infscale.cli.picker_report import report
from picker.epp_config.loader import load_picker_config, preset
from picker.epp_config.presets import PRESETS

HEAD = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
BODY = """\
plugins:
- {type: queue-scorer}
- {name: kv, type: kv-cache-utilization-scorer}
- {type: by-label, parameters: {label: tier, validValues: [a]}}
- {type: lora-affinity-scorer}
- {type: active-request-scorer, parameters: {requestTimeout: 1m}}
- {type: concurrency-detector, parameters: {maxConcurrency: 8}}
- {type: probabilistic-admitter}
- {type: approx-prefix-cache-producer, parameters: {autoTune: false, blockSizeTokens: 128}}
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: by-label}
  - {pluginRef: queue-scorer, weight: 2}
  - {pluginRef: kv}
  - {pluginRef: active-request-scorer, weight: 0}
  - {pluginRef: concurrency-detector}
requestHandler: {parsers: [{pluginRef: openai-parser}]}
"""
REPORT = """\
epp.yaml can be used.

Plugins
  queue-scorer                      scorer               profile default × 2
  kv (kv-cache-utilization-scorer)  scorer               profile default × 1
  by-label                          filter               profile default
  active-request-scorer             scorer               profile default × 0
  concurrency-detector              saturation detector  profile default
  probabilistic-admitter            admitter             every request
  approx-prefix-cache-producer      data producer        built in

Request bodies  openai-parser
Saturation      full at 8 requests in flight
Prefix index    blocks of 128 tokens, 31250 blocks per endpoint

Notes (4)
  epp.yaml:6: plugins[2]: by-label is deprecated; use label-selector-filter
  epp.yaml:8: plugins[4].parameters.requestTimeout: has no effect here: what is in flight ends with its exchange
  epp.yaml:7: lora-affinity-scorer: declared, but nothing refers to it
  profile default: ActiveRequestScorer has weight 0 and no say"""


def test_the_report_says_what_every_part_does() -> None:
    assert "\n".join(report(load_picker_config(HEAD + BODY, "epp.yaml"), "epp.yaml")) == REPORT


FLOW = """\
featureGates: [flowControl]
flowControl:
  maxRequests: 1k
  noEndpointRequestTTL: 0s
  enableEviction: true
  priorityBands: [{priority: -10, maxRequests: 50, defaultRequestTTL: 5s}, {priority: 100}]
"""
FLOW_REPORT = """\
Waiting         in all 1,000 requests, no limit; for 60 s, ever without endpoints
  priority 100   5,000 requests, 1,000,000,000 bytes; global-strict-fairness-policy
  priority -10   50 requests, 1,000,000,000 bytes; for 5 s; global-strict-fairness-policy
  eviction       of sheddable requests in flight"""


def test_the_report_says_how_requests_wait() -> None:
    said = "\n".join(report(load_picker_config(HEAD + FLOW, "epp.yaml"), "epp.yaml"))
    assert FLOW_REPORT in said
    assert "Waiting" not in "\n".join(report(load_picker_config(HEAD + "plugins: []\n", "epp.yaml"), "epp.yaml"))


@pytest.mark.parametrize(
    ("plugins", "said"),
    [
        ("- {type: metrics-data-source}\n- {type: core-metrics-extractor}", None),
        (
            "- {type: metrics-data-source, parameters: {scheme: https, path: /m, port: 9}}",
            "https, /m, port 9, any certificate",
        ),
        (
            "- {type: metrics-data-source, parameters: {scheme: https, insecureSkipVerify: false, caCertPath: /ca, "
            "clientCertPath: /c, clientKeyPath: /k}}",
            "https, certificates verified by /ca, showing /c",
        ),
        (
            "- {type: core-metrics-extractor, parameters: {defaultEngine: a, engineConfigs: "
            "[{name: a, queuedRequestsSpec: q}]}}",
            "names of a, a unless the label of the engine says another",
        ),
        (
            "- {type: core-metrics-extractor, parameters: {engineConfigs: "
            "[{name: a, queuedRequestsSpec: q, customMetrics: [{attributeKey: heat, metricSpec: h}]}]}}",
            "names of a with heat",
        ),
        ("- {type: core-metrics-extractor, parameters: {engineLabelKey: e}}", "engines by the label e"),
        (
            "- {type: multicluster-metrics-data-source}\n- {type: multicluster-metrics-extractor}",
            "https, certificates verified, averages of pools as pickers publish them",
        ),
    ],
)
def test_what_is_said_of_metrics_pages_is_shown(plugins: str, said: str | None) -> None:
    lines = report(load_picker_config(f"{HEAD}plugins:\n{plugins}\n", "epp.yaml"), "epp.yaml")
    shown = [line.removeprefix("Metrics pages   ") for line in lines if line.startswith("Metrics pages")]
    assert shown == ([] if said is None else [said])


@pytest.mark.parametrize(
    ("detector", "said"),
    [
        ("utilization-detector", "full at 5 waiting requests or 80% of the KV cache"),
        ("utilization-detector, parameters: {metricsStalenessThreshold: 500ms}", "; metrics are stale after 0.5 s"),
        ("concurrency-detector, parameters: {concurrencyMode: tokens}", "full at 1,000,000 tokens in flight"),
        ("concurrency-detector, parameters: {concurrencyMode: hybrid}", "full at 100 requests or 1,000,000 tokens"),
    ],
)
def test_saturation_is_said_in_words(detector: str, said: str) -> None:
    config = load_picker_config(f"{HEAD}plugins: [{{type: {detector}}}]\n", "epp.yaml")
    assert any(said in line for line in report(config, "epp.yaml"))


@pytest.mark.parametrize("name", PRESETS)
def test_the_shipped_presets_leave_little_to_say(name: str) -> None:
    notes = [line for line in report(preset(name), name) if line.startswith("  ") and "profile default:" in line]
    assert len(notes) == (name == "legacy-v0.3")
