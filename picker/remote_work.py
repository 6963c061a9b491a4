"""What is done for a request elsewhere than at its destination: its prefill, or the encoding of its media.

Both are asked for by the sidecar of the decoding endpoint, which reads in request headers what the picker chose.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from infscale.frozen_values import value
from infscale.metrics.store.dispatch import Charge

Stage = Literal["prefill", "encode"]
DecisionType = Literal["decode-only", "prefill-decode", "encode-decode", "encode-prefill-decode"]

STAGE_HEADERS: Final[Mapping[Stage, str]] = {"prefill": "x-prefiller-host-port", "encode": "x-encoder-hosts-ports"}
"""The request header that says where each stage is done."""

_DECISION_TYPES: Final[Mapping[frozenset[str], DecisionType]] = {
    frozenset[str](): "decode-only",
    frozenset({"prefill"}): "prefill-decode",
    frozenset({"encode"}): "encode-decode",
    frozenset({"encode", "prefill"}): "encode-prefill-decode",
}


@value
class RemoteStage:
    """One stage, the profile that chose where it is done, and the authorities it chose, the first one first."""

    stage: Stage
    profile: str
    authorities: tuple[str, ...]


@value
class RemoteWork:
    """What the profile handler of this name and type had done elsewhere for a request; without `stages` nothing.

    `charges` are booked at the endpoints of the stages until the answer begins: their part is over then.
    """

    plugin_name: str
    plugin_type: str
    stages: tuple[RemoteStage, ...] = ()
    charges: tuple[Charge, ...] = ()

    @property
    def decision_type(self) -> DecisionType:
        """What it is called in metrics."""
        return _DECISION_TYPES[frozenset([each.stage for each in self.stages])]

    @property
    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """The request headers for the sidecar. A prefill has one place, media may be encoded in several."""
        return tuple([(STAGE_HEADERS[each.stage], _places(each).encode()) for each in self.stages])

    @property
    def unset_headers(self) -> tuple[str, ...]:
        """The headers of stages that are done nowhere else: whatever a client wrote there must not pass."""
        done = [each.stage for each in self.stages]
        return tuple([header for stage, header in STAGE_HEADERS.items() if stage not in done])


def remote_document(stages: Iterable[RemoteStage], names: Mapping[str, str]) -> list[dict[str, object]]:
    """`stages` as JSON has them; `names` are those of endpoints by their authorities, as far as they are known."""
    return [
        {
            "stage": stage.stage,
            "profile": stage.profile,
            "endpoints": [{"endpoint": names.get(each), "authority": each} for each in stage.authorities],
        }
        for stage in stages
    ]


def _places(stage: RemoteStage) -> str:
    return stage.authorities[0] if stage.stage == "prefill" else ",".join(stage.authorities)
