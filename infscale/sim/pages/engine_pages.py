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
    Family,
    HistogramFamily,
    HistogramText,
    Page,
    PageFamily,
    PageView,
    PathFamily,
    RankView,
    ScalarFamily,
    SplitFamily,
    StaticFamily,
    escape,
    head,
    label_text,
    number,
)
from infscale.sim.pages.vllm_table import BLOCK_BOUNDS, COUNTERS, GAUGES, HISTOGRAMS, LEGACY_COUNTERS, UNUSED_HISTOGRAMS


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
    exact_names: bool = True

    def labels(self, **more: str) -> tuple[dict[str, str], ...]:
        """vLLM's labels of each rank."""
        return tuple({"engine": str(rank), "model_name": self.model, **more} for rank in range(self.ranks))


class LoraFamily:
    """``vllm:lora_requests_info``: the value is when the label set was last true; old label sets stay on the page."""

    names = frozenset({"vllm:lora_requests_info"})
    _kept = 4

    def __init__(self, max_loras: int) -> None:
        self._head = head("vllm:lora_requests_info", "gauge", "Running stats on lora requests.")
        self._max_loras = max_loras
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()

    def render(self, view: PageView) -> str:
        """The present label set and the few before it, each with its time."""
        running = sorted({name for rank in view.ranks for name in rank.batch})
        waiting = sorted({name for rank in view.ranks for name in rank.queue})
        key = (",".join(waiting), ",".join(running))
        self._seen[key] = view.wall_seconds
        self._seen.move_to_end(key)
        while len(self._seen) > self._kept:
            self._seen.popitem(last=False)
        lines = [
            f'vllm:lora_requests_info{{max_lora="{self._max_loras}",running_lora_adapters="{escape(batch)}",'
            f'waiting_lora_adapters="{escape(queue)}"}} {number(at)}\n'
            for (queue, batch), at in self._seen.items()
        ]
        return self._head + "".join(lines)


def vllm_page(subject: PageSubject, legacy: bool = False) -> Page:
    """A vLLM page; `legacy` uses the names of vLLM up to 0.9 for KV-cache usage, prefix cache and token time."""
    families = [*common_families(subject), *_scheduler_families(subject, legacy), *_counter_families(subject, legacy)]
    for name, text, pick, era in HISTOGRAMS:
        if era in ("all", "legacy" if legacy else "current"):
            families += histogram(name, text, subject.labels(), pick, subject)
    if not legacy:
        for name, text in UNUSED_HISTOGRAMS:
            spare = Histogram(BLOCK_BOUNDS)
            families.append(_unused_histogram(name, text, subject.labels(), spare))
            families.append(created(name, text, subject.labels(), subject.started_at))
    return Page([*families, *_http_families()], subject.exact_names)


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
        HistogramFamily(name, text, labels, bounds, lambda recorder: pick(recorder.histograms)),
        created(name, text, labels, subject.started_at),
    ]


def created(name: str, text: str, labels: Sequence[Mapping[str, str]], at: float) -> Family:
    """The ``_created`` gauges prometheus_client adds to counters and histograms."""
    lines = [f"{name}_created{{{label_text(one)}}} {number(at)}" for one in labels]
    return StaticFamily(f"{name}_created", "gauge", text, lines)


def common_families(subject: PageSubject) -> list[Family]:
    """What prometheus_client's own collectors write: garbage collection, Python and the process."""
    generations = [f'{{generation="{generation}"}}' for generation in range(3)]
    statics = [
        ("python_gc_objects_collected_total", "counter", "Objects collected during gc", (28340.0, 4017.0, 5512.0)),
        ("python_gc_objects_uncollectable_total", "counter", "Uncollectable objects found during GC", (0.0, 0.0, 0.0)),
        (
            "python_gc_collections_total",
            "counter",
            "Number of times this generation was collected",
            (2163.0, 196.0, 21.0),
        ),
    ]
    families: list[Family] = [
        StaticFamily(
            name, kind, text, [name + label + f" {value}" for label, value in zip(generations, values, strict=True)]
        )
        for name, kind, text, values in statics
    ]
    info = 'python_info{implementation="CPython",major="3",minor="12",patchlevel="11",version="3.12.11"} 1.0'
    families.append(StaticFamily("python_info", "gauge", "Python platform information", [info]))
    process = [
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", 2.5769803776e10),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", 1.610612736e09),
        ("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", subject.started_at),
        ("process_open_fds", "Number of open file descriptors.", 74.0),
        ("process_max_fds", "Maximum number of open file descriptors.", 1.048576e06),
    ]
    families += [StaticFamily(name, "gauge", text, [f"{name} {number(value)}"]) for name, text, value in process]
    families.append(
        PageFamily(
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            lambda view: view.cpu_seconds,
        )
    )
    return families


def _scheduler_families(subject: PageSubject, legacy: bool) -> list[Family]:
    texts = [label_text(labels) for labels in subject.labels()]
    families: list[Family] = [ScalarFamily(name, "gauge", text, texts, value) for name, text, value in GAUGES]
    usage = "vllm:gpu_cache_usage_perc" if legacy else "vllm:kv_cache_usage_perc"
    text = "KV-cache usage. 1 means 100 percent usage."
    families.append(ScalarFamily(usage, "gauge", text, texts, lambda rank: rank.kv_usage_ratio))
    if not legacy:
        families += [_waiting_by_reason(subject), SleepFamily(subject)]
    return [*families, LoraFamily(subject.max_loras), _cache_config(subject)]


def _waiting_by_reason(subject: PageSubject) -> Family:
    capacity = [label_text(labels) for labels in subject.labels(reason="capacity")]
    deferred = [label_text(labels) for labels in subject.labels(reason="deferred")]
    return SplitFamily(
        "vllm:num_requests_waiting_by_reason",
        "gauge",
        "Number of requests waiting to be processed, by reason.",
        list(zip(capacity, deferred, strict=True)),
        (lambda rank: rank.waiting - rank.deferred, lambda rank: rank.deferred),
    )


class SleepFamily:
    """``vllm:engine_sleep_state``: awake, or asleep with the weights moved to the host's memory."""

    _name = "vllm:engine_sleep_state"
    names = frozenset({_name})

    def __init__(self, subject: PageSubject) -> None:
        self._blocks = {asleep: self._block(subject, asleep) for asleep in (False, True)}

    def _block(self, subject: PageSubject, asleep: bool) -> str:
        states = {"awake": not asleep, "weights_offloaded": asleep, "discard_all": False}
        lines = [
            f"{self._name}{{{label_text(labels)}}} {float(value)}\n"
            for state, value in states.items()
            for labels in subject.labels(sleep_state=state)
        ]
        text = "Engine sleep state; awake = 0 means engine is sleeping."
        return head(self._name, "gauge", text) + "".join(lines)

    def render(self, view: PageView) -> str:
        """The state now."""
        return self._blocks[view.asleep]


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
    return StaticFamily(name, "gauge", "Information of the LLMEngine CacheConfig", lines)


def _counter_families(subject: PageSubject, legacy: bool) -> list[Family]:
    dicts = subject.labels()
    texts = [label_text(labels) for labels in dicts]
    families: list[Family] = []
    for name, text, value in LEGACY_COUNTERS if legacy else COUNTERS:
        families.append(ScalarFamily(f"{name}_total", "counter", text, texts, value))
        families.append(created(name, text, dicts, subject.started_at))
    reasons = ("stop", "length", "abort", "error", "repetition")
    by_reason = [subject.labels(finished_reason=reason) for reason in reasons]
    name, text = "vllm:request_success", "Count of successfully processed requests."
    families.append(
        SplitFamily(
            f"{name}_total",
            "counter",
            text,
            [[label_text(labels[rank]) for labels in by_reason] for rank in range(subject.ranks)],
            [_finished(reason) for reason in reasons],
        )
    )
    families.append(created(name, text, [labels for ranks in by_reason for labels in ranks], subject.started_at))
    return families


def _finished(reason: str) -> Callable[[RankView], float]:
    return lambda rank: rank.recorder.finished[reason]


def _unused_histogram(name: str, text: str, labels: Sequence[Mapping[str, str]], spare: Histogram) -> Family:
    return HistogramFamily(name, text, labels, spare.bounds, lambda _: spare)


def _http_families() -> list[Family]:
    size = "Content length of {} by handler. Only value of header is respected. Otherwise ignored."
    highr = "Latency with many buckets but no API specific labels. Made for more accurate percentile calculations."
    lowr = "Latency with only few buckets by handler. Made to be only used if aggregation by handler is important."
    spare = Histogram(HTTP_DURATION_BOUNDS)
    whole = HistogramText("http_request_duration_highr_seconds", {}, spare)
    return [
        PathFamily(
            "http_requests_total", "counter", "Total number of requests by method, status and handler.", (), _requests
        ),
        PathFamily(
            "http_request_size_bytes", "summary", size.format("incoming requests"), ("_count", "_sum"), _request_sizes
        ),
        PathFamily(
            "http_response_size_bytes",
            "summary",
            size.format("outgoing responses"),
            ("_count", "_sum"),
            _response_sizes,
        ),
        _WholeDuration(head("http_request_duration_highr_seconds", "histogram", highr), whole),
        PathFamily("http_request_duration_seconds", "histogram", lowr, ("_bucket", "_count", "_sum"), _durations),
    ]


class _WholeDuration:
    """The HTTP latency histogram without labels."""

    names = frozenset(f"http_request_duration_highr_seconds{suffix}" for suffix in ("", "_bucket", "_count", "_sum"))

    def __init__(self, start: str, text: HistogramText) -> None:
        self._start = start
        self._text = text

    def render(self, view: PageView) -> str:
        """Every request of every path."""
        return self._start + self._text.render(view.http.duration)


def _requests(path: str, method: str, record: PathRecord) -> str:
    statuses = record.statuses or {"2xx": 0}
    return "".join(
        f'http_requests_total{{handler="{path}",method="{method}",status="{status}"}} {number(count)}\n'
        for status, count in statuses.items()
    )


def _request_sizes(path: str, method: str, record: PathRecord) -> str:
    return _sizes("http_request_size_bytes", path, record.total, record.request_bytes)


def _response_sizes(path: str, method: str, record: PathRecord) -> str:
    return _sizes("http_response_size_bytes", path, record.total, record.response_bytes)


def _sizes(name: str, path: str, count: int, size: int) -> str:
    return f'{name}_count{{handler="{path}"}} {number(count)}\n{name}_sum{{handler="{path}"}} {number(size)}\n'


def _durations(path: str, method: str, record: PathRecord) -> str:
    labels = {"handler": path, "method": method}
    return HistogramText("http_request_duration_seconds", labels, record.duration).render(record.duration)
