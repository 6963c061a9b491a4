"""The scheduler: a profile handler says which profiles run and what their results mean together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from infscale.metrics.snapshot import IntArray
from picker.remote_work import RemoteWork
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.profile import Profile, Selection
from picker.scheduling.stages import ProfileHandler

_Place = Callable[[SchedulingContext, IntArray, IntArray, Mapping[str, Profile]], Selection | None]


class SingleProfileHandler:
    """Runs the only profile there is."""

    def handle(self, context: SchedulingContext, rows: IntArray, profiles: Mapping[str, Profile]) -> Selection | None:
        """The one profile's selection."""
        (profile,) = profiles.values()
        return profile.run(context, rows)


@dataclass(frozen=True, slots=True)
class HeaderProfileHandler:
    """Runs the profile that the request header `header` (lower case) names, `default` without it.

    A name that no profile has leaves no candidate, as in the reference picker.
    """

    header: str = "epp-profile"
    default: str = "decode"

    @property
    def reads_headers(self) -> tuple[str, ...]:
        """The one that names a profile."""
        return (self.header,)

    def handle(self, context: SchedulingContext, rows: IntArray, profiles: Mapping[str, Profile]) -> Selection | None:
        """The named profile's selection."""
        profile = profiles.get(context.request.headers.get(self.header) or self.default)
        return None if profile is None else profile.run(context, rows)


class Scheduler:
    """Profiles by name and the handler that runs them."""

    def __init__(self, profiles: Mapping[str, Profile], handler: ProfileHandler) -> None:
        self.profiles: Final = profiles
        self.handler: Final = handler
        self.narrows: Final = any([profile.filters for profile in profiles.values()])
        """Whether filters may leave fewer endpoints to a request than it may have by what it is."""
        self.no_remote: Final[RemoteWork | None] = getattr(handler, "no_remote", None)
        """What is said of a request of which nothing is done elsewhere; None: the handler knows of no such thing."""
        self._place: Final[_Place | None] = getattr(handler, "place", None)

    def schedule(self, context: SchedulingContext, rows: IntArray) -> Selection | None:
        """Choose among `rows` (ascending, at least one); None when every candidate was filtered out."""
        return self.handler.handle(context, rows, self.profiles)

    def place(self, context: SchedulingContext, rows: IntArray, placeable: IntArray) -> Selection | None:
        """As `schedule`, where only those of `rows` that are `placeable`, at least one, may be the destination."""
        if self._place is None:
            return self.handler.handle(context, placeable, self.profiles)
        return self._place(context, rows, placeable, self.profiles)
