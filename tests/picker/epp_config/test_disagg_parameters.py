"""The parameters of profile handlers for prefill and decode, in all forms that the reference has had."""

import pytest

from infscale.errors import ConfigError
from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.scheduling.disaggregation import AlwaysDecider, DisaggProfileHandler, MediaDecider, UncachedPromptDecider
from tests.picker.scheduling.test_disaggregation import ALWAYS, HEAD, PROFILES, config

PREFIX = "- {type: prefix-based-pd-decider, parameters: {nonCachedTokens: 64}}\n"


def of_type(name: str, parameters: str, deciders: str, rest: str = PROFILES) -> PickerConfig:
    return load_picker_config(
        f"{HEAD}plugins:\n{deciders}- {{type: {name}, parameters: {{{parameters}}}}}\n{rest}", "epp.yaml"
    )


def handler_of(found: PickerConfig) -> DisaggProfileHandler:
    handler = found.scheduler.handler
    assert isinstance(handler, DisaggProfileHandler)
    return handler


def refusals(name: str, parameters: str, deciders: str = ALWAYS, rest: str = PROFILES) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        of_type(name, parameters, deciders, rest)
    return list(caught.value.lines())


def test_nothing_is_done_elsewhere_unless_a_decider_is_named() -> None:
    found = config("")
    assert handler_of(found) == DisaggProfileHandler("disagg-profile-handler", "disagg-profile-handler")
    assert [note.partition("plugins[2]: ")[2] for note in found.notes] == [
        "without deciders.prefill the profile 'prefill' never runs",
        "without deciders.encode the profile 'encode' never runs",
    ]
    uses = {each.name: each.uses for each in found.plugins}
    assert (uses["disagg-profile-handler"], uses["always-disagg-pd-decider"]) == (("every request",), ())


NESTED = "deciders: {prefill: always-disagg-pd-decider, encode: always-disagg-multimodal-decider}"
FLAT = "prefillDeciderPluginName: always-disagg-pd-decider, encodeDeciderPluginName: always-disagg-multimodal-decider"


@pytest.mark.parametrize("form", [NESTED, FLAT], ids=["nested", "flat"])
def test_deciders_are_named_in_both_forms(form: str) -> None:
    found = config(form)
    handler = handler_of(found)
    assert isinstance(handler.prefill_decider, AlwaysDecider)
    assert isinstance(handler.encode_decider, MediaDecider)
    assert found.notes == ()
    uses = {each.type: each.uses for each in found.plugins}
    assert uses["always-disagg-pd-decider"] == ("prefill of every request",)
    assert uses["always-disagg-multimodal-decider"] == ("encode of every request",)


@pytest.mark.parametrize(
    "form",
    ["profiles: {decode: encode, prefill: decode, encode: ''}", "decodeProfile: encode, prefillProfile: decode"],
    ids=["nested", "flat"],
)
def test_profiles_are_named_in_both_forms(form: str) -> None:
    handler = handler_of(config(form))
    assert (handler.decode, handler.prefill, handler.encode) == ("encode", "decode", "encode")


@pytest.mark.parametrize(
    ("order", "first"),
    [("decode-first", False), ("Decode_First", False), ("''", False), ("prefill-first", True), ("PREFILL", True)],
)
def test_the_order_is_spelt_as_the_reference_reads_it(order: str, first: bool) -> None:
    assert handler_of(config(f"stageOrder: {order}")).prefill_first is first


def test_the_handler_of_before_has_a_decider_in_any_case() -> None:
    found = of_type("pd-profile-handler", "prefixPluginType: x, primaryPort: 0", PREFIX)
    handler = handler_of(found)
    assert handler.prefill_decider == UncachedPromptDecider(64)
    assert (handler.name, handler.type_name) == ("pd-profile-handler", "pd-profile-handler")
    assert any("pd-profile-handler is deprecated; use disagg-profile-handler" in note for note in found.notes)
    named = of_type("pd-profile-handler", "deciderPluginName: always-disagg-pd-decider", ALWAYS)
    assert isinstance(handler_of(named).prefill_decider, AlwaysDecider)


@pytest.mark.parametrize("name", ["disagg-headers-handler", "prefill-header-handler"])
def test_writers_of_headers_are_accepted_and_named_deprecated(name: str) -> None:
    found = of_type("disagg-profile-handler", "", f"- {{type: {name}, parameters: {{prefillProfile: p}}}}\n{ALWAYS}")
    notes = [note for note in found.notes if name in note]
    assert [note.partition(name)[2] for note in notes] == [
        " is deprecated; use disagg-profile-handler",
        " is built in; the profile handler writes the headers of the stages that it had done elsewhere",
    ]


@pytest.mark.parametrize(
    ("deciders", "parameters", "rest", "said"),
    [
        (PREFIX.replace("64", "0"), "deciders: {prefill: prefix-based-pd-decider}", PROFILES, "nonCachedTokens of its"),
        (
            ALWAYS,
            "deciders: {prefill: always-disagg-pd-decider}",
            PROFILES.replace("name: prefill,", "name: p,"),
            "there is no profile 'prefill', so nothing has its prefill done elsewhere",
        ),
    ],
)
def test_what_never_happens_is_said(deciders: str, parameters: str, rest: str, said: str) -> None:
    assert any(said in note for note in of_type("disagg-profile-handler", parameters, deciders, rest).notes)


REFUSED = {
    "no decode": ("", ALWAYS, PROFILES.replace("name: decode,", "name: d,"), "no profile 'decode' to decode by"),
    "unknown decider": ("deciders: {prefill: always-disagg-decider}", ALWAYS, PROFILES,
                        "parameters.deciders.prefill: no decider is named 'always-disagg-decider'; declared are"),
    "no decider": ("deciders: {prefill: queue-scorer}", "", PROFILES,
                   "no decider is named 'queue-scorer'; declared are none"),
    "both forms": (f"deciderPluginName: always-disagg-pd-decider, {NESTED}", ALWAYS, PROFILES,
                   "parameters.deciderPluginName: profiles or deciders are given too"),
    "order": ("stageOrder: encode-first", ALWAYS, PROFILES, "stageOrder: expected decode-first or prefill-first"),
    "decider of nothing": (f"stageOrder: prefill-first, {NESTED}", ALWAYS, PROFILES,
                           "deciders.prefill: with stageOrder prefill-first every prefill is done elsewhere"),
    "unknown key": ("decider: x", ALWAYS, PROFILES, "parameters.decider: unknown key"),
    "negative": (NESTED, ALWAYS + PREFIX.replace("64", "-1"), PROFILES, "nonCachedTokens: expected at least 0, got -1"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_named_with_its_place(case: tuple[str, str, str, str]) -> None:
    parameters, deciders, rest, said = case
    (line,) = refusals("disagg-profile-handler", parameters, deciders, rest)
    assert line.startswith("epp.yaml:")
    assert said in line


def test_what_only_the_handler_of_before_had_is_refused_by_name() -> None:
    (line,) = refusals("pd-profile-handler", "", "")
    assert "it needs a decider: declare a prefix-based-pd-decider, or name one in deciderPluginName" in line
    (line,) = refusals("pd-profile-handler", "primaryPort: 8000", PREFIX)
    assert "parameters.primaryPort: data-parallel ranks behind one port are not available" in line


@pytest.mark.parametrize("name", ["disagg-profile-handler", "pd-profile-handler"])
def test_a_decider_that_is_refused_is_no_second_mistake_where_it_is_named(name: str) -> None:
    wrong = PREFIX.replace("nonCachedTokens", "tokens")
    flat = "deciderPluginName: prefix-based-pd-decider"
    (line,) = refusals(name, flat, wrong)
    assert "parameters.tokens: unknown key" in line


def test_a_decider_has_no_place_in_a_profile() -> None:
    rest = PROFILES.replace("{pluginRef: prefill-filter}", "{pluginRef: always-disagg-pd-decider}")
    (line,) = refusals("disagg-profile-handler", "", rest=rest)
    assert "a decider has no place in a profile" in line


def test_a_scorer_or_a_filter_is_taken_for_the_type_of_that_name() -> None:
    rest = PROFILES.replace("- type: queue-scorer\n", "").replace("- type: decode-filter\n", "")
    found = config("", rest=rest)
    assert [each.name for each in found.plugins][-2:] == ["queue-scorer", "decode-filter"]
    notes = [note for note in found.notes if "taken for one of that type" in note]
    # Each is built once, whatever refers to it.
    assert len(notes) == 2
    (line,) = refusals(
        "disagg-profile-handler", "", rest=PROFILES.replace("- type: queue-scorer", "- type: quue-scorer")
    )
    assert "there is no plugin type 'quue-scorer'" in line


def test_a_picker_is_taken_for_none_that_is_not_declared() -> None:
    rest = PROFILES.replace("{pluginRef: queue-scorer}]", "{pluginRef: random-picker}]")
    lines = refusals("disagg-profile-handler", "", rest=rest)
    assert len(lines) == 3
    assert all("no plugin is named 'random-picker'" in line for line in lines)
