"""A replay for people: a table of the syncs at which something changed, and what came of it all."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from infscale.doctor.diagnosis_text import Line
from infscale.doctor.replay.controller_replay import ReplayedSync

_ASSUMPTION = (
    "Open loop: the load is as it was recorded, whatever the replicas. Totals (Object, External) are replayed as they "
    "were. Where the replayed replicas differ from the recorded ones, values per pod are the recorded total shared "
    "equally, and all pods are taken to be ready."
)
_MEMORY = "What the controller remembered before the first sync is not known: its windows start empty."
NOTES = (_ASSUMPTION, _MEMORY)


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay under its name: ``as it is`` or ``with …``."""

    name: str
    syncs: tuple[ReplayedSync, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a replay.

    `agreed` of the `compared` syncs had the recorded replicas. `unknown` had no usable metric. Replica seconds count
    each sync until the next.
    """

    syncs: int
    changes: int
    least: int
    most: int
    unknown: int
    compared: int
    agreed: int
    replica_seconds: float


def outcome(syncs: Sequence[ReplayedSync]) -> Outcome:
    """What came of a replay, which has at least one sync."""
    known = [each for each in syncs if each.recorded is not None]
    ends = [each.at for each in syncs[1:]]
    return Outcome(
        len(syncs),
        sum(each.desired != each.replicas for each in syncs),
        min(each.desired for each in syncs),
        max(each.desired for each in syncs),
        sum(each.proposed is None for each in syncs),
        len(known),
        sum(each.recorded == each.replicas for each in known),
        sum(each.desired * (end - each.at) for each, end in zip(syncs, ends, strict=False)),
    )


def lines(replays: Sequence[Replay], metrics: Sequence[str], *, whole: bool) -> Iterator[Line]:
    """Tables and outcomes; `whole`: every sync, else those at which something changes."""
    for replay in replays:
        yield Line(replay.name, "bold")
        yield from _table(replay.syncs, metrics, whole=whole)
        yield Line(_summary(outcome(replay.syncs)))
        yield Line("")
    yield from (Line(each, "dim") for each in NOTES)


def _table(syncs: Sequence[ReplayedSync], metrics: Sequence[str], *, whole: bool) -> Iterator[Line]:
    heads = ("time (UTC)", *metrics, "recorded", "replicas", "proposed", "after rules", "why")
    shown = [each for each in (syncs if whole else changed(syncs))]
    rows = [heads, *map(_row, shown)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads) - 1)]
    for number, row in enumerate(rows):
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        yield Line("  ".join([*cells, row[-1]]), "" if number else "bold")


def changed(syncs: Sequence[ReplayedSync]) -> Iterator[ReplayedSync]:
    """The first sync, the last, and each at which replicas, the reason or what is known is another than before."""
    before: ReplayedSync | None = None
    for number, each in enumerate(syncs):
        is_new = before is None or number == len(syncs) - 1 or _state(each) != _state(before)
        if is_new or each.desired != each.replicas:
            yield each
        before = each


def _state(sync: ReplayedSync) -> tuple[object, ...]:
    return sync.reason, sync.recorded == sync.replicas, [each is None for each in sync.values_milli]


def _row(sync: ReplayedSync) -> tuple[str, ...]:
    moment = datetime.fromtimestamp(sync.at, UTC)
    values = ("unknown" if each is None else f"{each / 1000:.6g}" for each in sync.values_milli)
    proposed = "-" if sync.proposed is None else str(sync.proposed)
    why = _printable(f"{sync.reason}: {sync.explanation}")
    recorded = "-" if sync.recorded is None else str(sync.recorded)
    return (f"{moment:%m-%d %H:%M:%S}", *values, recorded, str(sync.replicas), proposed, str(sync.desired), why)


def _summary(found: Outcome) -> str:
    parts = [
        f"{found.syncs} syncs",
        f"{found.changes} change{'' if found.changes == 1 else 's'}",
        f"{found.least} to {found.most} replicas",
        f"{found.replica_seconds / 3600:.2f} replica hours",
    ]
    if found.unknown:
        parts.append(f"no usable metric at {found.unknown}")
    if found.compared:
        parts.append(f"the recorded replicas at {found.agreed} of {found.compared}")
    return ", ".join(parts) + "."


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)


def names(metrics: Iterable[str]) -> tuple[str, ...]:
    """Heads of the metrics' columns."""
    return tuple(_printable(each)[:40] for each in metrics)
