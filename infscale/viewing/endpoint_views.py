"""The page of an endpoint, and what other pages show of endpoints."""

from collections.abc import Mapping
from typing import Final

from infscale.metrics.gauges import ENGINE_GAUGES, POD_GAUGES
from infscale.viewing.grid import (
    Cell,
    Column,
    Mark,
    Page,
    Row,
    Section,
    View,
    ViewKind,
    path_to,
    text_cell,
    value_cell,
)
from infscale.viewing.seen_documents import (
    EndpointSeen,
    ModelSeen,
    PoolSeen,
    Seen,
)
from infscale.viewing.shown_values import (
    IN_FLIGHT,
    KV,
    QUEUE_LATENCY,
    RUNNING,
    SATURATION,
    TTFT,
    WAITING,
    WITHOUT_ENDPOINT,
    WRITERS,
    kv_mark,
    load_mark,
)
from infscale.viewing.words import STALE_SIGN, Write, count, gibibytes, number, percent, seconds

# The names of causes in documents by the published names of the gauges they are of.
_REFUSED_AS: Final[Mapping[str, str]] = {
    gauge.published: name for gauges in (ENGINE_GAUGES, POD_GAUGES) for name, gauge in gauges._asdict().items()
}
_GPU_NAMES: Final = frozenset({"gpu_memory_used_bytes", "gpu_memory_total_bytes", "gpu_utilization_ratio"})
_OF_PICKER: Final = frozenset({IN_FLIGHT, "in_flight_tokens"})
_OF_ENDPOINT: Final = tuple(name for name in WRITERS if name not in (TTFT, "gpu_memory_used_ratio", WITHOUT_ENDPOINT))
ENDPOINT_COLUMNS: Final = (
    Column("endpoint", right=False),
    Column("state", right=False),
    Column("age"),
    Column("waiting"),
    Column("running"),
    Column("in flight"),
    Column("KV"),
    Column("sat."),
    Column("queue p90"),
    Column("GPU memory", spare=2),
    Column("GPU", spare=3),
    Column("address", right=False, spare=4),
)


def endpoint_row(pool: PoolSeen, endpoint: EndpointSeen) -> Row:
    """An endpoint among others of its pool."""
    cell = EndpointCells(pool, endpoint)
    kv, load = endpoint.numbers.get(KV), endpoint.numbers.get(SATURATION)
    cells = (
        text_cell(endpoint.name),
        _state(endpoint),
        cell.age(),
        cell(WAITING, count),
        cell(RUNNING, count),
        cell(IN_FLIGHT, count),
        cell(KV, percent, kv_mark(kv)),
        cell(SATURATION, percent, load_mark(load)),
        cell(QUEUE_LATENCY, seconds),
        cell("gpu_memory_used_bytes", gibibytes),
        cell("gpu_utilization_ratio", percent),
        text_cell(endpoint.authority),
    )
    return Row(endpoint.name, cells, endpoint_view(pool, endpoint))


def limit_words(pool: PoolSeen) -> str:
    """Why what is stale is not used."""
    limit = pool.staleness_limit_seconds
    return "it is stale" if limit is None else f"it is older than the staleness limit of {number(limit)} s"


def _state(endpoint: EndpointSeen) -> Cell:
    if endpoint.phase != "ready":
        return text_cell(endpoint.phase, Mark.WARNING)
    if not endpoint.ready:
        return text_cell("not serving", Mark.WARNING)
    if endpoint.asleep:
        return text_cell("asleep", Mark.WARNING)
    if endpoint.age_seconds is None:
        return text_cell("never read", Mark.BAD)
    if not endpoint.fresh:
        return text_cell("stale", Mark.BAD)
    if endpoint.saturated:
        return text_cell("full", Mark.WARNING)
    if not endpoint.eligible:
        return text_cell("unknown", Mark.BAD)
    return text_cell("ready", Mark.GOOD)


class EndpointCells:
    """Cells of one endpoint's values, which say why they are unknown or stale."""

    def __init__(self, pool: PoolSeen, endpoint: EndpointSeen) -> None:
        self._pool = pool
        self._endpoint = endpoint

    def __call__(self, name: str, write: Write, mark: Mark = Mark.PLAIN) -> Cell:
        """The value of that published name."""
        value, stale = self._endpoint.numbers.get(name), self._is_stale(name)
        cause = self.cause(name) if stale or value is None else ""
        return value_cell(value, write, cause, stale=stale, mark=mark)

    def age(self) -> Cell:
        """That of the engine's last observation."""
        endpoint = self._endpoint
        return value_cell(endpoint.age_seconds, seconds, self.cause("age_seconds"), stale=not endpoint.fresh)

    def age_of(self, name: str) -> float | None:
        """The age of one value in seconds; of what is always known none is said."""
        if name in _OF_PICKER or name == "model_load_seconds":
            return None
        return self._endpoint.gpu_age_seconds if name in _GPU_NAMES else self._endpoint.age_seconds

    def cause(self, name: str) -> str:
        """Why a value is not there, or is not used."""
        endpoint = self._endpoint
        refused = endpoint.refused.get(_REFUSED_AS.get(name, name))
        if refused:
            return refused
        if name in _GPU_NAMES:
            return "no GPU exporter has said anything of it" if endpoint.gpu_age_seconds is None else _GPU_STALE
        if name == "model_load_seconds":
            return "discovery does not say it"
        failed = "" if endpoint.failure is None else _failure_words(endpoint)
        if endpoint.age_seconds is None:
            return f"it was never read: {failed}" if failed else "it was not read yet"
        if not endpoint.fresh:
            return f"{limit_words(self._pool)}: {failed}" if failed else limit_words(self._pool)
        return _MADE_OF.get(name, "its metrics page does not have it")

    def _is_stale(self, name: str) -> bool:
        if name in _GPU_NAMES:
            return not self._endpoint.gpu_fresh
        return not self._endpoint.fresh and name not in _OF_PICKER and name != "model_load_seconds"


_GPU_STALE: Final = "what the GPU exporter said is too old, or it does not say this"
_MADE_OF: Final[Mapping[str, str]] = {
    QUEUE_LATENCY: "nothing of it was observed in the window, or it was read only once",
    SATURATION: "waiting requests and KV-cache utilisation are unknown",
}


def _failure_words(endpoint: EndpointSeen) -> str:
    failure = endpoint.failure
    if failure is None:
        return ""
    times = "" if failure.consecutive <= 1 else f", {failure.consecutive} times in a row"
    age = "" if failure.age_seconds is None else f", {seconds(failure.age_seconds)} ago"
    return f"{failure.cause}{times}{age}"


def load_cells(pool: PoolSeen, endpoint: EndpointSeen, load: ModelSeen) -> tuple[Cell, ...]:
    """What one endpoint has of one model, for `load_columns`."""
    cell, stale = EndpointCells(pool, endpoint), not endpoint.fresh
    causes = (cell.cause(WAITING), cell.cause(RUNNING))
    return (
        cell.age(),
        value_cell(load.waiting, count, causes[0], stale=stale),
        value_cell(load.running, count, causes[1], stale=stale),
    )


def load_columns(first: str) -> tuple[Column, ...]:
    """Columns of models on endpoints; `first` says which of both the rows are."""
    return (Column(first, right=False), Column("age"), Column("waiting"), Column("running"))


VALUE_COLUMNS: Final = (
    Column("value", right=False),
    Column("now"),
    Column("age"),
    Column("why", right=False, wraps=True),
)


def endpoint_page(seen: Seen, view: View) -> Page | None:
    """The page of an endpoint; None where it has gone."""
    pool = seen.pool(view.pool)
    found = None if pool is None else next((each for each in pool.endpoints if each.name == view.name), None)
    if pool is None or found is None:
        return None
    cells = EndpointCells(pool, found)
    rows = tuple(_value_row(cells, name) for name in _OF_ENDPOINT)
    models = tuple(
        Row(name, (text_cell(name), *load_cells(pool, found, load)), _model_view(pool, name))
        for name, load in found.models.items()
    )
    sections = (
        Section("values", VALUE_COLUMNS, rows),
        Section("models", load_columns("model"), models, "its page does not say which models it serves"),
    )
    return Page(path_to(view), tuple(_endpoint_facts(pool, found)), sections)


def _value_row(cells: EndpointCells, name: str) -> Row:
    cell, age = cells(name, WRITERS[name]), cells.age_of(name)
    told = text_cell("") if age is None else Cell(seconds(age), age)
    return Row(name, (text_cell(name), cell, told, text_cell(cell.cause)))


def _model_view(pool: PoolSeen, name: str) -> View | None:
    return View(ViewKind.MODEL, pool.name, name) if name in pool.by_model else None


def _endpoint_facts(pool: PoolSeen, endpoint: EndpointSeen) -> list[str]:
    chosen = "may be chosen" if endpoint.eligible else "is not chosen while others may be"
    facts = [f"{endpoint.authority}, {_state(endpoint).text}: it {chosen}"]
    if endpoint.serving is not None:
        age = endpoint.serving_age_seconds
        said = "it takes requests" if endpoint.serving else "it takes no requests"
        facts.append(f"over gRPC it says that {said}{'' if age is None else f', {seconds(age)} ago'}")
    if endpoint.failure is not None:
        facts.append(f"its last scrape failed: {_failure_words(endpoint)}")
    if not endpoint.fresh and endpoint.age_seconds is not None:
        facts.append(f"{STALE_SIGN} {limit_words(pool)}: not used")
    lora = endpoint.lora
    if lora is not None:
        most = "" if lora.most is None else f" of at most {count(lora.most)}"
        parts = {"running": lora.running, "waiting": lora.waiting, "loaded": lora.loaded}
        named = "; ".join(f"{what} {', '.join(names)}" for what, names in parts.items() if names)
        facts.append(f"LoRA adapters{most}: {named or 'none'}")
    return facts


def endpoint_view(pool: PoolSeen, endpoint: EndpointSeen) -> View:
    """What leads to the page of an endpoint."""
    return View(ViewKind.ENDPOINT, pool.name, endpoint.name)
