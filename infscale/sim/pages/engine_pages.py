"""Metrics pages of model servers: vLLM's families under their exact names, and the same engine seen as other servers.

A vLLM page of one engine is about 90 KB: engine families, ``_created`` series, Python and process families, and the
HTTP families of every path vLLM serves. The other pages are in `page_skins`.
"""

import enum
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from infscale.sim.engine.recorder import HTTP_DURATION_BOUNDS, Histogram, Histograms, PathRecord
from infscale.sim.pages.families import (
    HISTOGRAM_SUFFIXES,
    Family,
    HistogramText,
    Page,
    PageView,
    RankView,
    escape,
    family,
    histogram_family,
    label_text,
    number,
    path_family,
    rank_family,
    static_family,
)
from infscale.sim.pages.vllm_table import (
    BLOCK_BOUNDS,
    COUNTERS,
    CURRENT_HISTOGRAMS,
    GAUGES,
    HISTOGRAMS,
    LEGACY_COUNTERS,
    LEGACY_HISTOGRAMS,
    UNUSED_HISTOGRAMS,
    Scalar,
)

_LORA_SETS_KEPT = 4


class EngineSkin(enum.Enum):
    """Whose metrics page an engine shows."""

    VLLM = "vllm"
    VLLM_LEGACY = "vllm-legacy"
    SGLANG = "sglang"
    TRTLLM = "trtllm"
    TRITON = "triton"
    TRITON_TRTLLM = "triton-trtllm"
    TGI = "tgi"
    LLAMACPP = "llamacpp"
    LMDEPLOY = "lmdeploy"


@dataclass(frozen=True, slots=True)
class PageSubject:
    """What a page is about: the served model, the cache of each rank, and when the server started (Unix time)."""

    model: str
    ranks: int
    block_size: int
    num_blocks: int
    token_limit: int
    max_loras: int
    started_at: float

    def labels(self, **more: str) -> tuple[dict[str, str], ...]:
        """vLLM's labels of each rank."""
        return tuple({"engine": str(rank), "model_name": self.model, **more} for rank in range(self.ranks))

    def label_texts(self, **more: str) -> list[str]:
        """The same as they are written."""
        return [label_text(labels) for labels in self.labels(**more)]


def vllm_page(subject: PageSubject, legacy: bool = False) -> Page:
    """A vLLM page; `legacy` uses the names of vLLM up to 0.9 for KV-cache usage, prefix cache and token time."""
    families = [*common_families(subject), *_scheduler_families(subject, legacy), *_counter_families(subject, legacy)]
    left_out = CURRENT_HISTOGRAMS if legacy else LEGACY_HISTOGRAMS
    for name, text, pick in HISTOGRAMS:
        if name not in left_out:
            families += histogram(name, text, subject.labels(), pick, subject)
    if not legacy:
        spare = Histogram(BLOCK_BOUNDS)
        for name, text in UNUSED_HISTOGRAMS:
            families.append(histogram_family(name, text, subject.labels(), BLOCK_BOUNDS, lambda _: spare))
            families.append(created(name, text, subject.labels(), subject.started_at))
    return Page((*families, *_http_families()))


def histogram(
    name: str,
    text: str,
    labels: Sequence[Mapping[str, str]],
    pick: Callable[[Histograms], Histogram],
    subject: PageSubject,
) -> list[Family]:
    """A histogram family and its ``_created`` family."""
    bounds = pick(Histograms(subject.token_limit)).bounds
    return [
        histogram_family(name, text, labels, bounds, lambda recorder: pick(recorder.histograms)),
        created(name, text, labels, subject.started_at),
    ]


def created(name: str, text: str, labels: Sequence[Mapping[str, str]], at: float) -> Family:
    """The ``_created`` gauges prometheus_client adds to counters and histograms."""
    lines = [f"{name}_created{{{label_text(one)}}} {number(at)}" for one in labels]
    return static_family(f"{name}_created", "gauge", text, lines)


def common_families(subject: PageSubject) -> list[Family]:
    """What prometheus_client's own collectors write: garbage collection, Python and the process."""
    collected = [
        ("python_gc_objects_collected_total", "Objects collected during gc", (28340.0, 4017.0, 5512.0)),
        ("python_gc_objects_uncollectable_total", "Uncollectable objects found during GC", (0.0, 0.0, 0.0)),
        ("python_gc_collections_total", "Number of times this generation was collected", (2163.0, 196.0, 21.0)),
    ]
    families = [
        static_family(
            name, "counter", text, [f'{name}{{generation="{each}"}} {value}' for each, value in enumerate(of)]
        )
        for name, text, of in collected
    ]
    info = 'python_info{implementation="CPython",major="3",minor="12",patchlevel="11",version="3.12.11"} 1.0'
    families.append(static_family("python_info", "gauge", "Python platform information", [info]))
    process = [
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", 2.5769803776e10),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", 1.610612736e09),
        ("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", subject.started_at),
        ("process_open_fds", "Number of open file descriptors.", 74.0),
        ("process_max_fds", "Maximum number of open file descriptors.", 1.048576e06),
    ]
    families += [static_family(name, "gauge", text, [f"{name} {number(value)}"]) for name, text, value in process]
    name, text = "process_cpu_seconds_total", "Total user and system CPU time spent in seconds."
    families.append(family(name, "counter", text, lambda view: f"{name} {number(view.cpu_seconds)}\n"))
    return families


def _scheduler_families(subject: PageSubject, legacy: bool) -> list[Family]:
    texts = subject.label_texts()
    usage = "vllm:gpu_cache_usage_perc" if legacy else "vllm:kv_cache_usage_perc"
    gauges: list[Scalar] = [*GAUGES, (usage, "KV-cache usage. 1 means 100 percent usage.", lambda r: r.kv_usage_ratio)]
    families = [rank_family(name, "gauge", text, [(texts, value)]) for name, text, value in gauges]
    if not legacy:
        families += [_waiting_by_reason(subject), _sleep_state(subject)]
    return [*families, _lora_requests(subject.max_loras), _cache_config(subject)]


def _waiting_by_reason(subject: PageSubject) -> Family:
    return rank_family(
        "vllm:num_requests_waiting_by_reason",
        "gauge",
        "Number of requests waiting to be processed, by reason.",
        [
            (subject.label_texts(reason="capacity"), lambda rank: rank.waiting - rank.deferred),
            (subject.label_texts(reason="deferred"), lambda rank: rank.deferred),
        ],
    )


def _lora_requests(max_loras: int) -> Family:
    """The value is when the label set was last true; the present one and the few before it are on the page."""
    name = "vllm:lora_requests_info"
    seen: OrderedDict[tuple[str, str], float] = OrderedDict()

    def write(view: PageView) -> str:
        running = sorted({name for rank in view.ranks for name in rank.batch})
        waiting = sorted({name for rank in view.ranks for name in rank.queue})
        key = (",".join(waiting), ",".join(running))
        seen[key] = view.wall_seconds
        seen.move_to_end(key)
        while len(seen) > _LORA_SETS_KEPT:
            seen.popitem(last=False)
        lines = [
            f'{name}{{max_lora="{max_loras}",running_lora_adapters="{escape(batch)}",'
            f'waiting_lora_adapters="{escape(queue)}"}} {number(at)}\n'
            for (queue, batch), at in seen.items()
        ]
        return "".join(lines)

    return family(name, "gauge", "Running stats on lora requests.", write)


def _sleep_state(subject: PageSubject) -> Family:
    """Awake, or asleep with the weights moved to the host's memory."""
    name, text = "vllm:engine_sleep_state", "Engine sleep state; awake = 0 means engine is sleeping."

    def write(view: PageView) -> str:
        states = {"awake": not view.asleep, "weights_offloaded": view.asleep, "discard_all": False}
        lines = [
            f"{name}{{{labels}}} {float(value)}\n"
            for state, value in states.items()
            for labels in subject.label_texts(sleep_state=state)
        ]
        return "".join(lines)

    return family(name, "gauge", text, write)


def _cache_config(subject: PageSubject) -> Family:
    labels = {
        "block_size": str(subject.block_size),
        "cache_dtype": "auto",
        "calculate_kv_scales": "False",
        "cpu_offload_gb": "0",
        "enable_prefix_caching": "True",
        "gpu_memory_utilization": "0.9",
        "is_attention_free": "False",
        "kv_sharing_fast_prefill": "False",
        "mamba_cache_dtype": "auto",
        "num_cpu_blocks": "None",
        "num_gpu_blocks": str(subject.num_blocks),
        "num_gpu_blocks_override": "None",
        "prefix_caching_hash_algo": "sha256",
        "sliding_window": "None",
        "swap_space": "4",
    }
    name = "vllm:cache_config_info"
    lines = [f"{name}{{{label_text({**labels, 'engine': str(rank)})}}} 1.0" for rank in range(subject.ranks)]
    return static_family(name, "gauge", "Information of the LLMEngine CacheConfig", lines)


def _counter_families(subject: PageSubject, legacy: bool) -> list[Family]:
    families: list[Family] = []
    for name, text, value in LEGACY_COUNTERS if legacy else COUNTERS:
        families.append(rank_family(f"{name}_total", "counter", text, [(subject.label_texts(), value)]))
        families.append(created(name, text, subject.labels(), subject.started_at))
    reasons = ("stop", "length", "abort", "error", "repetition")
    name, text = "vllm:request_success", "Count of successfully processed requests."
    finished = [(subject.label_texts(finished_reason=reason), _finished(reason)) for reason in reasons]
    families.append(rank_family(f"{name}_total", "counter", text, finished))
    by_reason = [labels for reason in reasons for labels in subject.labels(finished_reason=reason)]
    families.append(created(name, text, by_reason, subject.started_at))
    return families


def _finished(reason: str) -> Callable[[RankView], float]:
    return lambda rank: rank.recorder.finished[reason]


def _http_families() -> list[Family]:
    size = "Content length of {} by handler. Only value of header is respected. Otherwise ignored."
    highr = "Latency with many buckets but no API specific labels. Made for more accurate percentile calculations."
    lowr = "Latency with only few buckets by handler. Made to be only used if aggregation by handler is important."
    total = "Total number of requests by method, status and handler."
    whole = HistogramText("http_request_duration_highr_seconds", {}, HTTP_DURATION_BOUNDS)
    return [
        path_family("http_requests_total", "counter", total, (), _requests),
        _sizes("http_request_size_bytes", size.format("incoming requests"), lambda record: record.request_bytes),
        _sizes("http_response_size_bytes", size.format("outgoing responses"), lambda record: record.response_bytes),
        family(
            "http_request_duration_highr_seconds",
            "histogram",
            highr,
            lambda view: whole.render(view.http.duration),
            HISTOGRAM_SUFFIXES,
        ),
        path_family("http_request_duration_seconds", "histogram", lowr, HISTOGRAM_SUFFIXES, _durations),
    ]


def _requests(path: str, method: str, record: PathRecord) -> str:
    statuses = record.statuses or {"2xx": 0}
    return "".join(
        f'http_requests_total{{handler="{path}",method="{method}",status="{status}"}} {number(count)}\n'
        for status, count in statuses.items()
    )


def _sizes(name: str, text: str, size: Callable[[PathRecord], int]) -> Family:
    def write(path: str, method: str, record: PathRecord) -> str:
        label = f'{{handler="{path}"}}'
        return f"{name}_count{label} {number(record.total)}\n{name}_sum{label} {number(size(record))}\n"

    return path_family(name, "summary", text, ("_count", "_sum"), write)


def _durations(path: str, method: str, record: PathRecord) -> str:
    labels = {"handler": path, "method": method}
    return HistogramText("http_request_duration_seconds", labels, record.duration.bounds).render(record.duration)
