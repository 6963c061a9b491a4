"""Which models the endpoints of a pool say they serve: names that clients make up are in neither books nor metrics."""

from dataclasses import dataclass
from typing import Final, Protocol

from infscale.endpoint import EndpointKey, ObjectKey
from infscale.memo import MemoKey
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore

_NONE: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class ServedModels:
    """What endpoints of a pool say: `names` of models and LoRA adapters, and the rows whose metrics name none.

    `loras` are those of which it is said that they are LoRA adapters.
    """

    names: frozenset[str]
    loras: frozenset[str]
    silent: frozenset[int]

    @staticmethod
    def of(snapshot: PoolSnapshot) -> "ServedModels":
        """What is said in `snapshot`; worked out once for each observation of the pool."""
        derived = snapshot.state.derived
        known = derived.get(_SERVED_MODELS)
        return derived.keep(_SERVED_MODELS, _read(snapshot)) if known is None else known


_SERVED_MODELS: Final = MemoKey[ServedModels]("served models")


def _read(snapshot: PoolSnapshot) -> ServedModels:
    names: set[str] = set()
    found: set[str] = set()
    silent: list[int] = []
    for row, (models, lora) in enumerate(zip(snapshot.columns.models, snapshot.columns.lora, strict=True)):
        if not models or "" in models:
            silent.append(row)
        names.update(models)
        if lora is not None:
            # Not its `names`, which would be another set for each row; most of these are empty.
            for adapters in (lora.running, lora.waiting, lora.loaded):
                if adapters:
                    found.update(adapters)
    names.update(found, *snapshot.columns.listed)
    names.discard("")
    return ServedModels(frozenset(names), frozenset(found - {""}), frozenset(silent))


class Listed(Protocol):
    """What servers list beside what their metrics name."""

    def listed(self, key: EndpointKey) -> frozenset[str] | None:
        """The models on the list of the endpoint `key`, none where it has no list; None: unknown now."""
        ...


def serves(snapshot: PoolSnapshot, model: str, lists: Listed | None) -> bool:
    """Whether any endpoint says it serves `model`, or does not say what it serves.

    It says so with a model or a LoRA adapter on its metrics page, or with a name on its list, where there are `lists`.
    """
    said = ServedModels.of(snapshot)
    if model in said.names:
        return True
    for row, endpoint in enumerate(snapshot.endpoints):
        names = _NONE if lists is None else lists.listed(endpoint.key)
        if names is None or model in names or (not names and row in said.silent):
            return True
    return False


class KnownAdapters:
    """LoRA adapters by what the endpoints in `store` say."""

    def __init__(self, store: MetricStore) -> None:
        self._store = store

    def is_lora(self, pool: ObjectKey, model: str) -> bool:
        """See `Adapters`."""
        snapshot = self._store.snapshot(pool)
        return snapshot is not None and model in ServedModels.of(snapshot).loras


def accounted(snapshot: PoolSnapshot, row: int, model: str) -> str:
    """The name to book a request for `model` under that goes to the endpoint in `row`; "" where none serves it."""
    if model in snapshot.columns.by_model:
        return model
    lora = snapshot.columns.lora[row]
    if lora is not None and (model in lora.running or model in lora.waiting or model in lora.loaded):
        return model
    return model if model in ServedModels.of(snapshot).names else ""
