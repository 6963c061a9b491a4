"""Decisions made stage by stage, with a note of what each stage said; the stages know nothing of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from infscale.frozen_values import entity
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray
from picker.epp_config.loader import PickerConfig, Room
from picker.request import Reason
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.profile import Profile, Selection, WeightedScorer, bounded
from picker.scheduling.scheduler import Scheduler
from picker.scheduling.stages import Admitter, Filter, Picker, Scorer, Screener

NarrowingKind = Literal["screener", "admitter", "room", "filter"]


@entity
class Narrowing:
    """What a screener, an admitter or a filter left of the candidates: an admitter all or none.

    Of the kind `room` it is the endpoints among which a request is placed that could wait: none without room.
    `profile` is that of a filter, "" where the stage is of all profiles.
    """

    kind: NarrowingKind
    profile: str
    stage: str
    before: IntArray
    after: IntArray


@entity
class Scoring:
    """What a scorer said of `rows`: `raw` as it gave it, and as it `counted`: within 0–1, unknown ones neutral."""

    profile: str
    stage: str
    weight: float
    rows: IntArray
    raw: FloatArray
    counted: FloatArray


@entity
class Picking:
    """What a picker chose of `rows` by their sums."""

    profile: str
    stage: str
    rows: IntArray
    scores: FloatArray
    chosen: tuple[int, ...]


@dataclass(slots=True)
class Notes:
    """What stages said, in the order in which they ran."""

    narrowings: list[Narrowing] = field(default_factory=list[Narrowing])
    scorings: list[Scoring] = field(default_factory=list[Scoring])
    pickings: list[Picking] = field(default_factory=list[Picking])


@dataclass(frozen=True, slots=True)
class _NotedScreener:
    screener: Screener
    name: str
    notes: Notes

    def screen(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        kept = self.screener.screen(context, rows)
        self.notes.narrowings.append(Narrowing("screener", "", self.name, rows, kept))
        return kept


@dataclass(frozen=True, slots=True)
class _NotedAdmitter:
    admitter: Admitter
    name: str
    notes: Notes

    def admits(self, context: SchedulingContext, rows: IntArray) -> bool:
        admitted = self.admitter.admits(context, rows)
        self.notes.narrowings.append(Narrowing("admitter", "", self.name, rows, rows if admitted else rows[:0]))
        return admitted


@dataclass(frozen=True, slots=True)
class _NotedFilter:
    filter: Filter
    profile: str
    name: str
    notes: Notes

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        kept = self.filter.keep(context, rows)
        self.notes.narrowings.append(Narrowing("filter", self.profile, self.name, rows, kept))
        return kept


@dataclass(frozen=True, slots=True)
class _NotedScorer:
    scorer: Scorer
    weight: float
    profile: str
    name: str
    notes: Notes
    # Profiles add up the scorers of the state first: the order of a sum decides its last bit.
    of_state: bool

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        raw = self.scorer.score(context, rows)
        said = np.array(raw, dtype=np.float64)
        self.notes.scorings.append(Scoring(self.profile, self.name, self.weight, rows, said, bounded(said)))
        return raw


@dataclass(frozen=True, slots=True)
class _NotedPicker:
    picker: Picker
    profile: str
    name: str
    notes: Notes

    def pick(self, context: SchedulingContext, rows: IntArray, scores: FloatArray) -> Sequence[int]:
        chosen = self.picker.pick(context, rows, scores)
        whole = tuple(map(int, chosen))
        self.notes.pickings.append(Picking(self.profile, self.name, rows, np.array(scores), whole))
        return chosen


def decided_with_notes(
    config: PickerConfig, context: SchedulingContext, rows: IntArray, room: Room | None = None
) -> tuple[Selection | Reason, Notes]:
    """What `config` decides about `rows`, with `room` as its `decide` has it, and what its stages said meanwhile."""
    notes = Notes()
    return _noted(config, notes).decide(context, rows, None if room is None else _noted_room(room, notes)), notes


def _noted_room(room: Room, notes: Notes) -> Room:
    def noted(context: SchedulingContext, rows: IntArray) -> IntArray:
        found = room(context, rows)
        notes.narrowings.append(Narrowing("room", "", "where it can begin", rows, found))
        return found

    return noted


def _noted(config: PickerConfig, notes: Notes) -> PickerConfig:
    names = config.stage_names
    screeners = tuple(_NotedScreener(each, _name(each, names), notes) for each in config.screeners)
    admitters = tuple(_NotedAdmitter(each, _name(each, names), notes) for each in config.admitters)
    profiles = {key: _noted_profile(each, names, notes) for key, each in config.scheduler.profiles.items()}
    scheduler = Scheduler(profiles, config.scheduler.handler)
    return replace(config, screeners=screeners, admitters=admitters, scheduler=scheduler)


def _noted_profile(profile: Profile, names: Mapping[int, str], notes: Notes) -> Profile:
    filters = [_NotedFilter(each, profile.name, _name(each, names), notes) for each in profile.filters]
    scorers = [
        WeightedScorer(
            _NotedScorer(
                each.scorer,
                each.weight,
                profile.name,
                _name(each.scorer, names),
                notes,
                getattr(each.scorer, "of_state", False),
            ),
            each.weight,
        )
        for each in profile.scorers
    ]
    picker = _NotedPicker(profile.picker, profile.name, _name(profile.picker, names), notes)
    return Profile(profile.name, filters, scorers, picker)


def _name(stage: object, names: Mapping[int, str]) -> str:
    """The name that the configuration gives a stage; of one that it does not name, such as a default, its class's."""
    return names.get(id(stage)) or type(stage).__name__
