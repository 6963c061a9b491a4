"""The stages of scheduling as protocols of one method.

Never compiled: classes of other packages may then inherit from them, which nothing needs and type checkers like.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray

if TYPE_CHECKING:
    from picker.scheduling.plugin import SchedulingContext
    from picker.scheduling.profile import Profile, Selection


class Filter(Protocol):
    """Drops candidates."""

    def keep(self, context: "SchedulingContext", rows: IntArray) -> IntArray:
        """The rows among `rows` that stay, in their order. Never called with no rows."""
        ...


class Scorer(Protocol):
    """Rates candidates.

    One that reads nothing but `context.snapshot.state` may say so by a class attribute ``of_state = True``: it is then
    asked once for each state of the store instead of for every request. One that asks `context.memory.clock` says so by
    an attribute ``of_clock = True``, of its class or a property: the clock is kept only where a scorer does.
    """

    def score(self, context: "SchedulingContext", rows: IntArray) -> FloatArray:
        """One score per row in `rows`: 1 is best, 0 worst; NaN says that the candidate's value is unknown."""
        ...


class Picker(Protocol):
    """Chooses among scored candidates."""

    def pick(self, context: "SchedulingContext", rows: IntArray, scores: FloatArray) -> Sequence[int]:
        """Rows in order of preference, the choice first; at least one of `rows`, none twice."""
        ...


class Admitter(Protocol):
    """Decides whether a request is scheduled at all."""

    def admits(self, context: "SchedulingContext", rows: IntArray) -> bool:
        """Whether the request goes on to scheduling among `rows`; False sheds it (429). Never called with no rows."""
        ...


class Screener(Protocol):
    """Narrows the candidates of a request before any profile sees them, so that all profiles choose among the same.

    One whose choice other requests have to follow may name response headers by an attribute `stamps`, pairs of a header
    (lower case) and a label: the header then carries that label of the endpoint that answered.
    """

    def screen(self, context: "SchedulingContext", rows: IntArray) -> IntArray:
        """The rows among `rows` that stay, in their order; none: refused (503). Never called with no rows."""
        ...


class Decider(Protocol):
    """Says whether a stage of a request is to be done elsewhere than on the endpoint that decodes."""

    def wants(self, context: "SchedulingContext", row: int) -> bool:
        """Whether it is, for a request that is decoded on the endpoint of `row`; -1: that is not chosen yet."""
        ...


class ProfileHandler(Protocol):
    """Decides which profiles run for a request.

    One whose profiles choose for several parts of a request has a method ``place(context, rows, placeable, profiles)``
    too: as `handle`, where only `placeable` of the rows may be the destination. It has an attribute `no_remote`, too:
    what is said of a request of which no part is done elsewhere (`picker.remote_work.RemoteWork`).
    """

    def handle(
        self, context: "SchedulingContext", rows: IntArray, profiles: "Mapping[str, Profile]"
    ) -> "Selection | None":
        """The selection the request is sent by; None when no candidate is left."""
        ...
