"""The scheduling presets: `EndpointPickerConfig` documents that the loader reads like any other."""

from collections.abc import Mapping

PRESETS: Mapping[str, str] = {
    # The least delay of all decides, in seconds: what is pending and added by the latency models, what the prefix
    # cache saves, what is held up. Prompts count from the moment they are dispatched until they are computed, so that
    # a burst between two scrapes spreads. Two destinations need a gateway that takes a list (Envoy's override_host
    # policy); an ORIGINAL_DST cluster takes one.
    "infscale": """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: marginal-cost-scorer
- type: approx-prefix-cache-producer
- type: max-score-picker
  parameters: {maxNumOfEndpoints: 2}
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: marginal-cost-scorer}
  - {pluginRef: max-score-picker}
""",
    # Work in flight decides, counted the moment it is dispatched and less what the prefix cache saves: a burst
    # between two scrapes spreads. Being one such request behind the best costs 2 of its 4 points, more than the
    # scraped terms (queue, KV cache: 1.5) can give back; those see, late, what traffic from elsewhere does. The
    # prefix term settles what costs about the same in favour of the warm endpoint. It needs no latency model.
    "in-flight-tokens": """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: in-flight-tokens-scorer
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: approx-prefix-cache-producer
- type: max-score-picker
  parameters: {maxNumOfEndpoints: 2}
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: in-flight-tokens-scorer, weight: 4}
  - {pluginRef: queue-scorer, weight: 0.5}
  - {pluginRef: kv-cache-utilization-scorer, weight: 1}
  - {pluginRef: prefix-cache-scorer, weight: 1}
  - {pluginRef: max-score-picker}
""",
    # What the reference picker does without a configuration file.
    "reference": """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: approx-prefix-cache-producer
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: queue-scorer, weight: 2}
  - {pluginRef: kv-cache-utilization-scorer, weight: 2}
  - {pluginRef: prefix-cache-scorer, weight: 3}
  - {pluginRef: max-score-picker}
""",
    # What the reference's guides call the optimized baseline: go where the prefix is cached until waiting there
    # costs more than computing it elsewhere, then where the fewest tokens are in flight.
    "sticky-until-saturated": """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: prefix-cache-affinity-filter
- type: token-load-scorer
- type: approx-prefix-cache-producer
- type: inflight-load-producer
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: prefix-cache-affinity-filter}
  - {pluginRef: token-load-scorer}
  - {pluginRef: max-score-picker}
""",
    # LMETRIC (arXiv 2603.15202), for comparisons: prefill times batch, without weights.
    "lmetric": """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: lmetric-scorer
- type: approx-prefix-cache-producer
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: lmetric-scorer}
  - {pluginRef: max-score-picker}
""",
    # What the reference picker did up to v0.3, for comparisons: no prefix cache, and nothing counted at dispatch.
    "legacy-v0.3": """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: legacy-tree-filter
- type: random-picker
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: legacy-tree-filter}
  - {pluginRef: random-picker}
""",
    # The default of the reference, and what conformance tests of gateways ask of a picker: the client
    # chooses among endpoints, and is told which one answered. No client outside a test should be able to.
    "conformance": """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: header-based-testing-filter
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: approx-prefix-cache-producer
- type: destination-endpoint-served-verifier
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: header-based-testing-filter}
  - {pluginRef: queue-scorer, weight: 2}
  - {pluginRef: kv-cache-utilization-scorer, weight: 2}
  - {pluginRef: prefix-cache-scorer, weight: 3}
  - {pluginRef: max-score-picker}
""",
}
