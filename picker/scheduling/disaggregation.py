"""Prefill and decode, and the encoding of media, on endpoints of their own: which profiles run for a request.

The decoding endpoint is the request's destination. Deciders say whether it is to do all by itself, or has the prefill,
or the encoding, done by another endpoint, which a profile of its own chooses. Its sidecar carries that out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from infscale.metrics.snapshot import IntArray
from picker.remote_work import RemoteWork
from picker.scheduling.filters.session_filter import FALLBACK
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.profile import Profile, RemoteSelection, RemoteSelections, Selection
from picker.scheduling.stages import Decider
from picker.sessions.placement import NOWHERE


@dataclass(frozen=True, slots=True)
class AlwaysDecider:
    """Has the stage of every request done elsewhere."""

    def wants(self, context: SchedulingContext, row: int) -> bool:
        """True."""
        return True


@dataclass(frozen=True, slots=True)
class MediaDecider:
    """Has media encoded elsewhere wherever a request has images, sounds or films."""

    def wants(self, context: SchedulingContext, row: int) -> bool:
        """Whether there is anything to encode."""
        return bool(context.request.media)


@dataclass(frozen=True, slots=True)
class UncachedPromptDecider:
    """Has the prefill done elsewhere where the decoding endpoint would have to compute much of the prompt itself.

    That is `uncached_tokens` or more, of a prompt of `prompt_tokens` or more. As in the reference picker 0
    `uncached_tokens` mean never, and so does a prompt of which nothing can be cached: one shorter than a block.
    """

    uncached_tokens: int = 0
    prompt_tokens: int = 0

    def wants(self, context: SchedulingContext, row: int) -> bool:
        """Whether that much is not cached on the endpoint of `row`; False where the endpoint is not known yet."""
        tokens, prefix = context.request.prompt_tokens, context.prefix
        if not self.uncached_tokens or row == NOWHERE or not prefix.total or tokens < self.prompt_tokens:
            return False
        return tokens - float(prefix.matched[row]) * prefix.tokens_each >= self.uncached_tokens


@dataclass(frozen=True, slots=True)
class DisaggProfileHandler:
    """Runs the profile `decode`, whose choice is the destination, and `prefill` and `encode` where they are wanted.

    A stage without a decider, or without its profile, is never done elsewhere. With `prefill_first` the prefill is
    always done elsewhere, and chosen before the endpoint that decodes. Where an endpoint for the prefill is wanted and
    there is none, there is no choice at all, as in the reference picker: the prefills of a whole pool would else end up
    on the endpoints that decode. A request whose media no endpoint can encode is sent without that. `name` and
    `type_name` are the plugin's, for metrics.
    """

    name: str
    type_name: str
    decode: str = "decode"
    prefill: str = "prefill"
    encode: str = "encode"
    prefill_decider: Decider | None = None
    encode_decider: Decider | None = None
    prefill_first: bool = False

    @property
    def no_remote(self) -> RemoteWork:
        """What is said of a request of which nothing is done elsewhere."""
        return RemoteWork(self.name, self.type_name)

    def handle(self, context: SchedulingContext, rows: IntArray, profiles: Mapping[str, Profile]) -> Selection | None:
        """The decoding profile's selection, with those of the other stages beside it."""
        return self.place(context, rows, rows, profiles)

    def place(
        self, context: SchedulingContext, rows: IntArray, placeable: IntArray, profiles: Mapping[str, Profile]
    ) -> Selection | None:
        """As `handle`, where only those of `rows` that are `placeable` may decode."""
        if self.prefill_first:
            others = self._elsewhere(context, rows, NOWHERE, profiles)
            decode = None if others is None else _with_fallback(profiles[self.decode], context, placeable)
        else:
            decode = _with_fallback(profiles[self.decode], context, placeable)
            others = None if decode is None else self._elsewhere(context, rows, decode.chosen[0], profiles)
        return None if decode is None or others is None else decode.beside(others)

    def _elsewhere(
        self, context: SchedulingContext, rows: IntArray, row: int, profiles: Mapping[str, Profile]
    ) -> RemoteSelections | None:
        """What is chosen for the other stages of a request that is decoded in `row`, `NOWHERE`: that is not known yet.

        None: an endpoint for the prefill is wanted, and there is none.
        """
        found: list[RemoteSelection] = []
        encode, prefill = profiles.get(self.encode), profiles.get(self.prefill)
        if encode is not None and self.encode_decider is not None and self.encode_decider.wants(context, row):
            encoding = _run(encode, context, rows)
            if encoding is not None:
                found.append(RemoteSelection("encode", encoding))
        if prefill is not None and self._wants_prefill(context, row):
            prefilling = _run(prefill, context, rows)
            if prefilling is None:
                return None
            found.append(RemoteSelection("prefill", prefilling))
        return RemoteSelections(self.name, self.type_name, tuple(found))

    def _wants_prefill(self, context: SchedulingContext, row: int) -> bool:
        decider = self.prefill_decider
        return self.prefill_first or (decider is not None and decider.wants(context, row))


def _run(profile: Profile, context: SchedulingContext, rows: IntArray) -> Selection | None:
    """The selection of a profile whose session filter leaves no fallback behind for another's choice."""
    selection = profile.run(context, rows)
    context.derived.keep(FALLBACK, NOWHERE)
    return selection


def _with_fallback(profile: Profile, context: SchedulingContext, rows: IntArray) -> Selection | None:
    """The selection of a profile, with the fallback that its session filter names."""
    context.derived.keep(FALLBACK, NOWHERE)
    selection, fallback = profile.run(context, rows), context.derived.get(FALLBACK)
    context.derived.keep(FALLBACK, NOWHERE)
    if selection is None or fallback is None or fallback == NOWHERE or fallback in selection.chosen:
        return selection
    return selection.or_else(fallback)
