"""The prefill clock: when each endpoint will have computed the prompts that were dispatched to it.

A prompt is on the clock from its dispatch until it is computed, which is long before its answer ends: tokens in flight
stay on the books for as long as the answer takes, and so say little of what a new request waits for. The clock of an
endpoint is one time, `finish`; a dispatch moves it by the seconds of its prefill, from now on where it has passed. It
is an estimate, and what the endpoint reports corrects it. At a scrape that finds `waiting` requests, as many of the
youngest that were dispatched before have not begun, so that at least their prefills are left. The one before them may
be in the middle of its prefill, and a step may be under way that computes others, so that no more than these are left
beside: a queue of none is not an endpoint without a backlog.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import numpy as np

from infscale.endpoint import Endpoint, EndpointKey
from infscale.latency.predictions import USUAL_BUDGET_TOKENS
from infscale.metrics.sample import FloatArray, Life
from infscale.metrics.snapshot import IntArray, PoolSnapshot
from picker.scheduling.costs.step_costs import StepCosts

IN_TRANSIT_SECONDS: Final = 0.005
"""What was dispatched so shortly before a scrape may not have reached the engine when it was made."""

_WEIGHT_OF_NEW: Final = 0.05

COLUMNS: Final = 6
"""How many numbers the clock tells of each endpoint."""

_Sizes = tuple[Sequence[int | None], Sequence[int | None]]
"""Tokens of a block, and how many blocks there are, as endpoints publish them."""


class Work:
    """What a request is for its endpoint: the `seconds` that its prefill takes alone, and its tokens.

    `context_tokens` are those of prompt and answer that it is expected to have on average while it decodes,
    `answer_tokens` those of the answer alone. It takes room in the KV cache for `cache_tokens` of them, and for
    `matched_tokens`, which were cached there, as far as nothing else in flight has them in use. `sheddable`: its
    priority is below 0.
    """

    __slots__ = ("answer_tokens", "cache_tokens", "context_tokens", "matched_tokens", "seconds", "sheddable")

    def __init__(
        self,
        seconds: float,
        context_tokens: float,
        cache_tokens: float,
        *,
        matched_tokens: float = 0.0,
        answer_tokens: float = 0.0,
        sheddable: bool = False,
    ) -> None:
        self.seconds = seconds
        self.sheddable = sheddable
        # Whole numbers, so that sums return to exactly 0.
        self.context_tokens = float(round(context_tokens))
        self.cache_tokens = float(round(cache_tokens))
        self.matched_tokens = float(round(matched_tokens))
        self.answer_tokens = float(round(answer_tokens))

    @property
    def prompt_tokens(self) -> float:
        """Tokens of the prompt that were not cached: room that it takes at once."""
        return self.cache_tokens - self.answer_tokens


class Standing:
    """How far a request is: of its `work` so many seconds of its prefill are left, 0 since `computed_at`."""

    __slots__ = ("computed_at", "left_seconds", "work")

    def __init__(self, work: Work, left_seconds: float, computed_at: float) -> None:
        self.work = work
        self.left_seconds = left_seconds
        self.computed_at = computed_at


class _Prefill:
    """A request in flight: when it was dispatched, its work, and, once it is due, when the clock had computed it."""

    __slots__ = ("at", "finish", "work")

    def __init__(self, at: float, work: Work) -> None:
        self.at = at
        self.work = work
        self.finish = math.inf


class _Line:
    """What one endpoint was sent, by the numbers of requests, in order of dispatch.

    `ahead` are the prefills that the clock has still to compute: the first ends at `first`, each other so long after
    the one before it, or after its own dispatch where that was later, as it takes. `due` are those before: computed by
    the clock, which nothing confirmed yet. `behind` have begun for certain. A request moves from one to the next, back
    only at a scrape, and what happens to one moves all that come after it by the same seconds. So an event between
    scrapes takes no longer where much is in flight.
    """

    __slots__ = (
        "ahead",
        "answer_tokens",
        "behind",
        "cache_since",
        "cache_tokens",
        "context_tokens",
        "due",
        "finish",
        "first",
        "life",
        "matched_tokens",
        "own_share",
        "row",
        "seen_at",
        "sheddable",
    )

    def __init__(self) -> None:
        # What is first is taken out again and again, which a plain dict does in linear time.
        self.ahead: OrderedDict[int, _Prefill] = OrderedDict()
        self.due: OrderedDict[int, _Prefill] = OrderedDict()
        self.behind: dict[int, _Prefill] = {}
        self.first = 0.0
        self.finish = 0.0
        self.context_tokens = 0.0
        self.cache_tokens = 0.0
        self.cache_since = 0.0
        self.seen_at = -math.inf
        self.sheddable = 0.0
        self.answer_tokens = 0.0
        self.matched_tokens = 0.0
        self.own_share = 1.0
        self.life: Life | None = None
        self.row = -1

    def dispatched(self, number: int, work: Work, now: float) -> None:
        self.finish = max(self.finish, now) + work.seconds
        if not self.ahead:
            self.first = self.finish
        self.ahead[number] = _Prefill(now, work)
        self._count(work, 1.0)
        self.cache_since += work.prompt_tokens

    def _count(self, work: Work, sign: float) -> None:
        self.context_tokens += sign * work.context_tokens
        self.cache_tokens += sign * work.cache_tokens
        self.answer_tokens += sign * work.answer_tokens
        self.matched_tokens += sign * work.matched_tokens
        if work.sheddable:
            self.sheddable += sign

    def ended(self, number: int, now: float, *, answered: bool) -> None:
        """Take out a request; an answer proves that its prefill and all before it had begun."""
        done = self.behind.pop(number, None)
        if done is None:
            self._run(now)
            done = self._answered(number, now) if answered else self._cut(number, now)
        self._count(done.work, -1.0)
        self.cache_since -= done.work.prompt_tokens if done.at > self.seen_at else done.work.cache_tokens

    def seen(self, at: float) -> None:
        """A page was made at `at`: what is in use of the cache then is on it."""
        self.cache_since, self.seen_at = 0.0, at

    def _run(self, now: float) -> None:
        """What the clock has computed by `now` is due."""
        while self.ahead and self.first <= now:
            number, each = self.ahead.popitem(last=False)
            each.finish = self.first
            self.due[number] = each
            self._begin(each.finish)

    def _begin(self, at: float) -> None:
        """The first prefill ahead begins at `at`, or at its dispatch."""
        if self.ahead:
            each = self.ahead[next(iter(self.ahead))]
            self.first = max(at, each.at) + each.work.seconds

    def _answered(self, number: int, now: float) -> _Prefill:
        while self.due:
            other, each = self.due.popitem(last=False)
            if other == number:
                return each
            self.behind[other] = each
        while True:
            other, each = self.ahead.popitem(last=False)
            if other == number:
                self._go_on(self.first, now)
                return each
            self.behind[other] = each
            self._begin(self.first)

    def _cut(self, number: int, now: float) -> _Prefill:
        done = self.due.pop(number, None)
        if done is not None:
            return done
        was_first = next(iter(self.ahead)) == number
        done = self.ahead.pop(number)
        if was_first:
            self._go_on(self.first, max(now, self.first - done.work.seconds))
        else:
            # It had not begun, and nothing after it either.
            self.finish -= done.work.seconds
        return done

    def _go_on(self, expected: float, at: float) -> None:
        """The prefills ahead begin at `at` instead of when they were `expected` to."""
        self.finish = self.finish - (expected - at) if self.ahead else min(self.finish, at)
        self._begin(at)

    def observed(self, waiting: int, at: float, step_seconds: float, usual_seconds: float) -> None:
        """Correct the clock by a scrape that was made at `at`; see the module."""
        sent = at - IN_TRANSIT_SECONDS
        self._run(math.inf)
        line = self.due
        before = [number for number, each in line.items() if each.at <= sent]
        known = min(waiting, len(before))
        begun, queued = before[: len(before) - known], before[len(before) - known :]
        left = 0.0
        for number in queued:
            left += line[number].work.seconds
        # Requests of others, and those that lost their place in the batch, wait as well.
        others = (waiting - known) * usual_seconds
        expected = line[before[-1]].finish if before else self.finish if not line else at
        most = step_seconds + (line[begun[-1]].work.seconds if begun else 0.0)
        # Apart from sums that would be rounded: where nothing is left of the last that began, nothing of it stays.
        later = at + others + min(max(expected - (at + others + left), 0.0), most)
        finish = later + left
        under_way = bool(begun) and later > at
        for number in begun[:-1] if under_way else begun:
            self.behind[number] = line.pop(number)
        self.ahead, self.due = line, self.ahead
        if under_way:
            self.first = later
        else:
            self._begin(later)
        for each in line.values():
            if each.at > sent:
                finish = max(finish, each.at) + each.work.seconds
        self.finish = finish

    @property
    def taken_tokens(self) -> float:
        """Tokens of the KV cache that requests in flight take; a whole number, as its sums are."""
        return self.cache_tokens + float(round(self.own_share * self.matched_tokens))

    def holds(self, used_tokens: float) -> None:
        """The scrape that was observed found so many tokens of the KV cache in use.

        Those that have begun have their prompts in it at least; what of these is not in use is there once for several.
        """
        matched, prompts = self.matched_tokens, self.cache_tokens + self.matched_tokens - self.answer_tokens
        for each in self.ahead.values():
            work = each.work
            matched -= work.matched_tokens
            prompts -= work.cache_tokens + work.matched_tokens - work.answer_tokens
        if matched > 0.0:
            self.own_share = 1.0 - min(max((prompts - used_tokens) / matched, 0.0), 1.0)

    def find(self, number: int) -> _Prefill:
        return self.ahead.get(number) or self.due.get(number) or self.behind[number]

    def standing(self, number: int, now: float) -> Standing:
        """How far a request is; what is left is what the clock goes back by if the request ends now."""
        self._run(now)
        each = self.find(number)
        if number not in self.ahead:
            # Of one that began before the clock had it computed, or anew, it is not known when that was.
            return Standing(each.work, 0.0, min(each.finish, now))
        if next(iter(self.ahead)) == number:
            return Standing(each.work, min(self.first - now, each.work.seconds), now)
        return Standing(each.work, each.work.seconds, now)

    def begin_anew(self) -> None:
        """Nothing of what was sent is computed any more."""
        for each in (self.due, self.ahead):
            self.behind.update(each)
            each.clear()
        self.finish = 0.0


class PrefillClock:
    """The clocks of one pool's endpoints; rows are those of the endpoints last given to `sync`.

    The director of the pool owns and writes it; stages only read. Numbers are those of charges. A request is on the
    clock of one endpoint from `dispatched` to `ended`; one whose endpoint has left is on none.
    """

    def __init__(self) -> None:
        self._endpoints: tuple[Endpoint, ...] = ()
        self._lives: Sequence[Life | None] = ()
        self._lines: dict[tuple[EndpointKey, str], _Line] = {}
        self._rows: list[_Line] = []
        self._of: dict[int, _Line] = {}
        self.numbers: FloatArray = np.zeros(0)
        """Of every row when its prompts are computed; then of each tokens of context; of cache; sheddable requests; how
        many tokens of cache more are in use than when it was scraped last; the share of cached prompts that takes room.

        Written on.
        """
        self._finish = self._context = self._cache = self._sheddable = self.numbers
        self._since = self._own_share = self.numbers
        self.version = 0
        """Another one whenever one of `numbers` has changed."""
        self._sizes: _Sizes = ((), ())
        self.capacity_tokens: FloatArray = np.zeros(0)
        """Of every row: tokens that the KV cache holds, infinite where that is not known."""
        self._seen = np.zeros(0)
        self._observed_at: FloatArray = self._seen
        self.usual_seconds = 0.0
        """What the prefills of late take on average."""

    @staticmethod
    def of(numbers: FloatArray, capacity_tokens: FloatArray, usual_seconds: float) -> "PrefillClock":
        """A clock that tells the time as one did whose numbers were these; nothing is on it."""
        clock = PrefillClock()
        clock._show_in(numbers)
        clock.capacity_tokens = capacity_tokens
        clock.usual_seconds = usual_seconds
        return clock

    def __len__(self) -> int:
        """Requests on the clock."""
        return len(self._of)

    def pending_seconds(self, now: float) -> FloatArray:
        """Of every row: seconds until the prompts that were sent there are computed, 0 where they are."""
        left: FloatArray = np.maximum(self._finish - now, 0.0)
        return left

    def pending_seconds_of(self, row: int, now: float) -> float:
        """`pending_seconds` of one row."""
        return max(float(self._finish[row]) - now, 0.0)

    def soonest(self, rows: IntArray) -> int:
        """The first of `rows`, at least one, whose prompts are computed first."""
        finish = self._finish
        return int(finish.argmin()) if len(rows) == len(finish) else int(rows[finish[rows].argmin()])

    @property
    def context_tokens(self) -> FloatArray:
        """Of every row: tokens of context that the requests in flight are expected to have."""
        return self._context

    @property
    def cache_tokens(self) -> FloatArray:
        """Of every row: tokens of the KV cache that the requests in flight take, what several share once."""
        return self._cache

    @property
    def cache_tokens_since(self) -> FloatArray:
        """Of every row: how many tokens of the KV cache more are in use than its last page had, about."""
        return self._since

    @property
    def own_share(self) -> FloatArray:
        """Of every row: the share of what is cached of a prompt for which a request takes room all the same, 0–1.

        What is cached takes no room as long as no request in flight needs it, so that the first which does takes it.
        All is taken for such, but for what the last scrape found in use less than all prompts together have.
        """
        return self._own_share

    @property
    def sheddable_requests(self) -> FloatArray:
        """Of every row: requests in flight that may be shed."""
        return self._sheddable

    def sync(self, endpoints: tuple[Endpoint, ...], lives: Sequence[Life | None]) -> None:
        """Follow the pool: an endpoint that is new, or whose engine began anew, has nothing to compute."""
        if endpoints is not self._endpoints:
            self._place(endpoints)
        if lives is self._lives or not lives:
            return
        self._lives = lives
        for line, life in zip(self._rows, lives, strict=True):
            if line.life is not life:
                line.life = life
                line.begin_anew()
                self._show(line)

    def dispatched(self, row: int, number: int, work: Work, now: float) -> None:
        """Request `number` was sent to the endpoint of `row`."""
        line = self._rows[row]
        line.dispatched(number, work, now)
        self._of[number] = line
        self.usual_seconds += _WEIGHT_OF_NEW * (work.seconds - self.usual_seconds)
        self._show(line)

    def ended(self, number: int, now: float, *, answered: bool) -> None:
        """Request `number` has ended; `answered`: the endpoint made tokens for it. One that is unknown is none."""
        line = self._of.pop(number, None)
        if line is not None:
            line.ended(number, now, answered=answered)
            self._show(line)

    def standing(self, number: int, now: float) -> Standing | None:
        """How far request `number` is; None: it is on no clock."""
        line = self._of.get(number)
        return None if line is None else line.standing(number, now)

    def moved(self, number: int, to: int, row: int, now: float) -> None:
        """Request `number` went to the endpoint of `row` instead, where it is number `to`."""
        line = self._of.get(number)
        if line is not None:
            found = line.find(number)
            self.ended(number, now, answered=False)
            self.dispatched(row, to, found.work, now)

    def observe(self, snapshot: PoolSnapshot, costs: StepCosts) -> None:
        """Correct the clocks of endpoints that were scraped since they were last looked at."""
        columns = snapshot.columns
        observed_at = columns.observed_at
        if columns.block_size_tokens is not self._sizes[0] or columns.num_blocks is not self._sizes[1]:
            self._sizes = columns.block_size_tokens, columns.num_blocks
            self.capacity_tokens = _capacities(self._sizes)
        if observed_at is self._observed_at:
            return
        self._observed_at = observed_at
        rows: list[int] = (observed_at > self._seen).nonzero()[0].tolist()
        for row in rows:
            at = float(observed_at[row])
            self._seen[row] = at
            line, waiting = self._rows[row], float(columns.gauges.waiting[row])
            line.seen(at)
            # Where it is not known how many wait, nothing is corrected.
            if waiting == waiting:
                batch = float(snapshot.in_flight_requests[row])
                step_seconds = costs.prefill_seconds(row, USUAL_BUDGET_TOKENS, line.context_tokens, batch)
                line.observed(int(waiting), at, step_seconds, self.usual_seconds)
                used = float(columns.gauges.kv_used_tokens[row])
                if used == used:
                    line.holds(used)
            self._show(line)

    def _place(self, endpoints: tuple[Endpoint, ...]) -> None:
        seen = {id(line): float(self._seen[line.row]) for line in self._rows}
        self._endpoints = endpoints
        before = self._lines
        self._lines = {
            identity: before.get(identity) or _Line() for identity in ((each.key, each.authority) for each in endpoints)
        }
        self._rows = list(self._lines.values())
        kept = {id(line) for line in self._rows}
        self._of = {number: line for number, line in self._of.items() if id(line) in kept}
        rows = len(endpoints)
        self._show_in(np.zeros(COLUMNS * rows))
        self._sizes, self.capacity_tokens = ((), ()), np.full(rows, np.inf)
        self._seen = np.array([seen.get(id(line), -np.inf) for line in self._rows], dtype=np.float64)
        self._observed_at = self._seen
        for row, line in enumerate(self._rows):
            line.row = row
            self._show(line)

    def _show_in(self, numbers: FloatArray) -> None:
        self.version += 1
        self.numbers = numbers
        rows = numbers.reshape(COLUMNS, -1)
        self._finish, self._context, self._cache, self._sheddable = rows[0], rows[1], rows[2], rows[3]
        self._since, self._own_share = rows[4], rows[5]

    def _show(self, line: _Line) -> None:
        self.version += 1
        self._finish[line.row] = line.finish
        self._context[line.row] = line.context_tokens
        self._cache[line.row] = line.taken_tokens
        self._sheddable[line.row] = line.sheddable
        self._since[line.row] = line.cache_since
        self._own_share[line.row] = line.own_share


def _capacities(sizes: _Sizes) -> FloatArray:
    found = [float(size * blocks) if size and blocks else np.inf for size, blocks in zip(*sizes, strict=True)]
    return np.array(found, dtype=np.float64)
