"""What is known of metrics by their names: those of before, highest values, what adds up, and what is gone at zero.

The names that infscale publishes are in `infscale.metrics.published.catalogue`; beside them stand those of engines and
of other autoscalers, because HPAs that ask other adapters for them have the same faults.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from infscale.metrics.published.aliases import ALIASES
from infscale.metrics.published.catalogue import BY_NAME, Aggregation

OLD_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "vllm:gpu_cache_usage_perc": "vllm:kv_cache_usage_perc",
        "vllm:gpu_prefix_cache_queries_total": "vllm:prefix_cache_queries_total",
        "vllm:gpu_prefix_cache_hits_total": "vllm:prefix_cache_hits_total",
        "vllm:time_per_output_token_seconds": "vllm:request_time_per_output_token_seconds",
        "inference_pool_average_kv_cache_utilization": "llm_d_epp_average_kv_cache_utilization",
        "inference_pool_average_queue_size": "llm_d_epp_average_queue_size",
        "inference_pool_average_running_requests": "llm_d_epp_average_running_requests",
        "inference_pool_ready_pods": "llm_d_epp_ready_endpoints",
        "inference_pool_per_pod_queue_size": "llm_d_epp_per_endpoint_queue_size",
        "inference_model_request_total": "llm_d_epp_request_total",
        "inference_objective_request_total": "llm_d_epp_request_total",
        "inference_objective_request_error_total": "llm_d_epp_request_error_total",
        "inference_objective_running_requests": "llm_d_epp_request_running",
        "inference_objective_request_duration_seconds": "llm_d_epp_request_duration_seconds",
        "inference_objective_request_sizes": "llm_d_epp_request_size_bytes",
        "inference_objective_response_sizes": "llm_d_epp_response_size_bytes",
        "inference_objective_input_tokens": "llm_d_epp_request_input_tokens",
        "inference_objective_output_tokens": "llm_d_epp_request_output_tokens",
        "inference_objective_prompt_cached_tokens": "llm_d_epp_request_cached_tokens",
        "inference_objective_normalized_time_per_output_token_seconds": "llm_d_epp_request_ntpot_seconds",
        "inference_extension_info": "llm_d_epp_info",
        "inference_extension_scheduler_e2e_duration_seconds": "llm_d_epp_scheduler_e2e_duration_seconds",
        "inference_extension_scheduler_attempts_total": "llm_d_epp_scheduler_attempts_total",
        "inference_extension_prefix_indexer_size": "llm_d_epp_prefix_indexer_size",
        "inference_extension_prefix_indexer_hit_ratio": "llm_d_epp_prefix_indexer_hit_ratio",
        "inference_extension_prefix_indexer_hit_bytes": "llm_d_epp_prefix_indexer_hit_bytes",
        "inference_extension_flow_control_queue_size": "llm_d_epp_flow_control_queue_size",
        "inference_extension_flow_control_pool_saturation": "llm_d_epp_flow_control_pool_saturation",
        # A label: dcgm-exporter writes it in lower case since 2026.
        "Hostname": "hostname",
    }
)
"""Old names, and those of today."""

_PARTS = ("_bucket", "_sum", "_count")


def is_old(name: str) -> bool:
    """Whether it is an old name."""
    return new_name(name) is not None


def new_name(name: str) -> str | None:
    """Today's name of a metric or label, None where `name` is no old name. Parts of histograms keep their ends.

    Names of HPAs may have ``_`` for ``:``, as tutorials write them.
    """
    for written in (name, name.replace("_", ":", 1)):
        for end in ("", *_PARTS):
            today = OLD_NAMES.get(written.removesuffix(end)) if written.endswith(end) else None
            if today is not None:
                return (today if written == name else today.replace(":", "_", 1)) + end
    return None


class Kind(enum.Enum):
    """What a value of a metric is, which decides what its target means."""

    LOAD = "load"
    """An amount that adds up over pods: its target is one per pod (`AverageValue`)."""
    LEVEL = "level"
    """A ratio or a time, the same for one pod and for many: of a pool its target is a `Value`."""
    REPLICAS = "replicas"
    """A number of replicas that another program wants."""


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """What is known of a metric. `ceiling` is the highest value it can have; None: there is none, or it is not known.

    `at_zero`: it has a value while its pool has no pod. `flag` are arguments of engines that limit it per pod.
    """

    kind: Kind
    ceiling: float | None = None
    at_zero: bool = False
    flags: tuple[str, ...] = ()


BATCH_FLAGS = ("--max-num-seqs", "--max-running-requests", "--max_batch_size", "--max-batch-size")
"""Arguments of engines: how many requests one runs at once."""
_RUNNING = frozenset({"running_requests", "running_requests_average"})
_ENGINES = r"(?:vllm|sglang|trtllm|tgi|llamacpp|nv_trt_llm)[:_]"
_LOAD, _RATIO = MetricFacts(Kind.LOAD), MetricFacts(Kind.LEVEL, ceiling=1.0)
_PATTERNS: tuple[tuple[re.Pattern[str], MetricFacts], ...] = tuple(
    (re.compile(pattern), facts)
    for pattern, facts in (
        (r".*desired_replicas|.*replicas_desired", MetricFacts(Kind.REPLICAS, at_zero=True)),
        (_ENGINES + r"(?:gpu_cache|kv_cache)_usage_perc|sglang[:_]token_usage|trtllm_kv_cache_utilization", _RATIO),
        (_ENGINES + r"num_(?:requests_running|running_reqs)", MetricFacts(Kind.LOAD, flags=BATCH_FLAGS)),
        (_ENGINES + r"num_(?:requests_waiting|queue_reqs)(?:_by_reason)?|tgi_queue_size", _LOAD),
        (r"llamacpp[:_]requests_(?:deferred|processing)", _LOAD),
        (r"(?:llm_d_epp|inference_pool)_average_kv_cache_utilization", _RATIO),
        (r"llm_d_epp_request_running", _LOAD),
        (_ENGINES + r".*_seconds|tgi_.*_duration", MetricFacts(Kind.LEVEL)),
    )
)


def facts_of(name: str) -> MetricFacts | None:
    """What is known of a metric; None: nothing."""
    published = BY_NAME.get(name)
    if published is None:
        return next((facts for pattern, facts in _PATTERNS if pattern.fullmatch(name)), None)
    # What the picker counts is known without a pod.
    at_zero = published.source.of_requests
    if published.aggregation is Aggregation.SUM:
        return MetricFacts(Kind.LOAD, None, at_zero, BATCH_FLAGS if name in _RUNNING else ())
    return MetricFacts(Kind.LEVEL, _ceiling(published.name, published.unit), at_zero)


def _ceiling(name: str, unit: str) -> float | None:
    # Saturation goes above 1 where requests queue, but refusals and queues of gateways keep it near 1.
    return 1.0 if unit == "ratio" and name != "saturation_ratio" else None


def is_of_one_pod(name: str) -> bool:
    """Whether an engine says it of itself: as a number of a whole pool it is added up, or put together otherwise."""
    return re.match(_ENGINES, name) is not None


def is_engines(name: str) -> bool:
    """Whether engines or pods have to be there for it to have a value."""
    facts = facts_of(name)
    return facts is not None and not facts.at_zero


_ENGINE_QUEUES = re.compile(
    r"waiting_(?:requests(?:_average|_maximum)?|tokens)|queue_latency_.*|time_to_first_token_.*"
)


def is_engine_queue(name: str) -> bool:
    """Whether it is what queues in engines alone, by any of its names: what waits in a picker is not in it."""
    return _ENGINE_QUEUES.fullmatch(published_name(name) or name) is not None


_OF_PICKERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"(?:llm_d_epp|inference_pool|inference_extension)_{pattern}"), name)
    for pattern, name in (
        (r"average_kv_cache_utilization", "kv_cache_utilization_ratio"),
        (r"average_queue_size", "waiting_requests_average"),
        (r"average_running_requests", "running_requests_average"),
        (r"per_(?:pod|endpoint)_queue_size", "waiting_requests"),
        (r"flow_control_queue_size", "queued_requests"),
    )
)


def published_name(name: str) -> str | None:
    """infscale's name, of the same meaning and unit, of what an engine, exporter or other picker calls `name`."""
    alias = ALIASES.get(name)
    if alias is not None:
        return alias.metric if alias.why is None else None
    return next((ours for pattern, ours in _OF_PICKERS if pattern.fullmatch(name)), None)
