"""What is compared in scenarios: the reference's flow control as its documents configure it, and infscale's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from picker.epp_config.presets import PRESETS

REFERENCE: Final = "reference"
OURS: Final = "infscale"
AT_ONCE: Final = "at once"
ALONE: Final = "alone"

INTERACTIVE_PRIORITY: Final = 10
BATCH_PRIORITY: Final = -1
KEYS_FILE: Final = "session-keys"
"""The file, in the folder that the configuration is read in, with the keys of session tokens."""

_SECONDS: Final = 0.25
_OFTEN_SECONDS: Final = 0.05
"""The reference's own interval of scrapes."""
_HEAD: Final = "apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\n"
# Scorers and weights of the reference without a file; its default detector (queue 5, KV cache 80 %), TTL (60 s) and
# limits; tenants in turns, as its guide for several tenants has it, since the default serves all in one order.
_FLOW: Final = f"""\
featureGates: [flowControl]
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: approx-prefix-cache-producer
- type: round-robin-fairness-policy
- type: max-score-picker
{{plugins}}schedulingProfiles:
- name: default
  plugins:
{{refs}}  - {{{{pluginRef: queue-scorer, weight: 2}}}}
  - {{{{pluginRef: kv-cache-utilization-scorer, weight: 2}}}}
  - {{{{pluginRef: prefix-cache-scorer, weight: 3}}}}
  - {{{{pluginRef: max-score-picker}}}}
flowControl:
  defaultRequestTTL: 60s
  noEndpointRequestTTL: 10m
  priorityBands:
  - {{{{priority: {INTERACTIVE_PRIORITY}, fairnessPolicyRef: round-robin-fairness-policy}}}}
  - {{{{priority: 0, fairnessPolicyRef: round-robin-fairness-policy}}}}
  - {{{{priority: {BATCH_PRIORITY}, fairnessPolicyRef: round-robin-fairness-policy}}}}
"""
_AFFINE: Final = ("- type: session-affinity-filter\n", "  - {pluginRef: session-affinity-filter}\n")
_SIGNED: Final = f"""\
plugins:
- type: session-affinity-filter
  parameters:
    strategy: signed_token
    signedTokenConfig: {{keys: {KEYS_FILE}, header: x-infscale-session}}
- type: marginal-cost-scorer
- type: approx-prefix-cache-producer
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
  - {{pluginRef: session-affinity-filter}}
  - {{pluginRef: marginal-cost-scorer}}
  - {{pluginRef: max-score-picker}}
"""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to route: `text` is its `EndpointPickerConfig`, `flow_control` what `picker.flow_control` says.

    It reads metrics pages every `scrape_seconds`. `falls_back`: requests go to the other pool of a scenario with two.
    """

    name: str
    about: str
    text: str
    scrape_seconds: float
    flow_control: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)
    falls_back: bool = True


def contenders(*, sessions: bool = False, cold_seconds: float = 0.0) -> tuple[Contender, ...]:
    """The reference and ours, with affinity of `sessions`; a request waits for a cold pool for `cold_seconds`."""
    plugins, refs = _AFFINE if sessions else ("", "")
    reference = _HEAD + _FLOW.format(plugins=plugins, refs=refs)
    flow: dict[str, object] = {"enabled": True}
    if cold_seconds:
        flow["no_endpoint_seconds"] = cold_seconds
    return (
        Contender(REFERENCE, "the reference's flow control", reference, _OFTEN_SECONDS),
        Contender(
            OURS, "infscale's flow control", _HEAD + _SIGNED if sessions else PRESETS["infscale"], _SECONDS, flow
        ),
    )


def held_and_not() -> tuple[Contender, ...]:
    """The preset of `serve` when it sends each request at once, and when it has them wait."""
    return tuple(
        Contender(name, about, PRESETS["infscale"], _SECONDS, {"enabled": enabled})
        for name, about, enabled in (
            (AT_ONCE, "infscale, sent at once", False),
            (OURS, "infscale's flow control", True),
        )
    )


def falling_back_and_not() -> tuple[Contender, ...]:
    """The preset of `serve` when a pool has another one to fall back to, and when it has none."""
    return tuple(
        Contender(name, about, PRESETS["infscale"], _SECONDS, {"enabled": True}, falls_back)
        for name, about, falls_back in (
            (ALONE, "infscale without a fallback", False),
            (OURS, "infscale with a fallback", True),
        )
    )
