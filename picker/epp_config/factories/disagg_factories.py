"""Factories of disaggregated serving: profile handlers, deciders, and what the reference once needed for headers."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from infscale.documents.problems import AlreadySaid
from infscale.documents.strict_document import Field, quoted
from infscale.documents.suggestions import did_you_mean, short_list
from picker.epp_config.facts import Facts, FactType, Told
from picker.epp_config.parameters import Given, note, plain
from picker.scheduling.disaggregation import AlwaysDecider, DisaggProfileHandler, MediaDecider, UncachedPromptDecider
from picker.scheduling.stages import Decider, ProfileHandler

DISAGG_HANDLER: Final = "disagg-profile-handler"
OLDER_HANDLER: Final = "pd-profile-handler"
_PREFIX_DECIDER: Final = "prefix-based-pd-decider"

_NESTED: Final = ("profiles", "deciders")
# What the reference took before it had these two.
_FLAT_PROFILES: Final = {"decodeProfile": "decode", "prefillProfile": "prefill", "encodeProfile": "encode"}
_FLAT_DECIDERS: Final = {
    "deciderPluginName": "prefill",
    "prefillDeciderPluginName": "prefill",
    "encodeDeciderPluginName": "encode",
}
_OF_NO_USE: Final = ("prefixPluginType", "prefixPluginName", "prefixMatchInfoProducerName")
_ORDERS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("", "decodefirst", "decode"), False),
    **dict.fromkeys(("prefillfirst", "prefill"), True),
}
"""Spellings of the order of stages, without - and _, as the reference reads them: whether prefill is first."""


def _disagg(given: Given) -> ProfileHandler:
    parameters = given.read("stageOrder", *_NESTED, *_FLAT_PROFILES, *_FLAT_DECIDERS)
    prefill_first = parameters.get_as("stageOrder", _prefill_first, False)
    profiles: dict[str, Field] = {}
    deciders: dict[str, Field] = {}
    for names, found in ((_FLAT_PROFILES, profiles), (_FLAT_DECIDERS, deciders)):
        for name, stage in names.items():
            field = parameters.get(name)
            if field is not None:
                found[stage] = field
    nested = {name: field for name in _NESTED if (field := parameters.get(name)) is not None}
    if nested and (profiles or deciders):
        next(iter((*profiles.values(), *deciders.values()))).refuse("profiles or deciders are given too; keep these")
    if "profiles" in nested:
        profiles = nested["profiles"].mapping(optional=("decode", "prefill", "encode"))
    if "deciders" in nested:
        deciders = nested["deciders"].mapping(optional=("prefill", "encode"))
    if prefill_first and "prefill" in deciders:
        deciders["prefill"].refuse("with stageOrder prefill-first every prefill is done elsewhere; remove the decider")
    return DisaggProfileHandler(
        given.name,
        DISAGG_HANDLER,
        _profile_of(profiles, "decode"),
        _profile_of(profiles, "prefill"),
        _profile_of(profiles, "encode"),
        _decider(given, deciders.get("prefill")),
        _decider(given, deciders.get("encode")),
        prefill_first,
    )


def _older(given: Given) -> ProfileHandler:
    """The reference's handler of before: it knows of no encoding, and always has a decider."""
    parameters = given.read("decodeProfile", "prefillProfile", "deciderPluginName", "primaryPort", *_OF_NO_USE)
    port, field = parameters.get("primaryPort"), parameters.get("deciderPluginName")
    if port is not None and port.integer(0):
        port.refuse("data-parallel ranks behind one port are not available in this version; give each a port")
    decider = given.deciders.get(_PREFIX_DECIDER) if field is None else _decider(given, field)
    if decider is None and _PREFIX_DECIDER not in given.refused:
        given.declared.refuse(f"it needs a decider: declare a {_PREFIX_DECIDER}, or name one in deciderPluginName")
    return DisaggProfileHandler(
        given.name,
        OLDER_HANDLER,
        parameters.text("decodeProfile", "decode"),
        parameters.text("prefillProfile", "prefill"),
        prefill_decider=decider,
    )


def _prefill_first(field: Field) -> bool:
    word = field.text(empty=True).lower().replace("-", "").replace("_", "")
    if word not in _ORDERS:
        field.refuse("expected decode-first or prefill-first")
    return _ORDERS[word]


def _profile_of(fields: Mapping[str, Field], stage: str) -> str:
    """The profile of a stage; as in the reference, an empty name is none."""
    field = fields.get(stage)
    return (None if field is None else field.text(empty=True)) or stage


def _decider(given: Given, field: Field | None) -> Decider | None:
    name = "" if field is None else field.text(empty=True)
    if field is None or not name:
        return None
    found = given.deciders.get(name)
    if found is None and name in given.refused:
        raise AlreadySaid(field.place, field.path, f"decider {quoted(name)} is refused")
    if found is None:
        declared = short_list(sorted(given.deciders), name) or "none"
        field.refuse(f"no decider is named {quoted(name)}; declared are {declared}{did_you_mean(name, given.deciders)}")
    return found


def _uncached(given: Given) -> Decider:
    parameters = given.read("nonCachedTokens", "promptTokens")
    return UncachedPromptDecider(parameters.integer("nonCachedTokens", 0), parameters.integer("promptTokens", 0))


def check_profiles(handler: DisaggProfileHandler, profiles: Collection[str], declared: Field) -> Iterator[str]:
    """What is worth saying of a handler `declared` there, with these `profiles`; without decode it is refused."""
    if handler.decode not in profiles:
        declared.refuse(f"there is no profile {quoted(handler.decode)} to decode by; name one in profiles.decode")
    stages = (
        ("prefill", handler.prefill, handler.prefill_first or handler.prefill_decider is not None),
        ("encode", handler.encode, handler.encode_decider is not None),
    )
    for stage, profile, wanted in stages:
        if wanted and profile not in profiles:
            yield note(declared, f"there is no profile {quoted(profile)}, so nothing has its {stage} done elsewhere")
        elif not wanted and profile in profiles:
            yield note(declared, f"without deciders.{stage} the profile {quoted(profile)} never runs")
    decider = handler.prefill_decider
    if isinstance(decider, UncachedPromptDecider) and not decider.uncached_tokens:
        yield note(
            declared, f"nonCachedTokens of its {_PREFIX_DECIDER} is 0, so nothing has its prefill done elsewhere"
        )


def _header_handler(given: Given, facts: Facts) -> Told:
    """Read what the reference needed of before its profile handlers wrote headers."""
    parameters = given.read("prefillProfile", "encodeProfile")
    for name in ("prefillProfile", "encodeProfile"):
        parameters.text(name, name)
    return facts, ()


DISAGG_HANDLERS: Mapping[str, Callable[[Given], ProfileHandler]] = {DISAGG_HANDLER: _disagg, OLDER_HANDLER: _older}
DECIDERS: Mapping[str, Callable[[Given], Decider]] = {
    "always-disagg-multimodal-decider": plain(MediaDecider),
    "always-disagg-pd-decider": plain(AlwaysDecider),
    _PREFIX_DECIDER: _uncached,
}
_ELSEWHERE: Final = "the profile handler writes the headers of the stages that it had done elsewhere"
HEADER_HANDLERS: Mapping[str, FactType] = dict.fromkeys(
    ("disagg-headers-handler", "prefill-header-handler"), FactType(_header_handler, elsewhere=_ELSEWHERE, implied=False)
)
"""Plugins that the reference needed beside a profile handler, to tell the sidecar what that had chosen."""
