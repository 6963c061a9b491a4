"""Which profiles run for a request, and what each of them chooses."""

from base64 import b64encode
from dataclasses import dataclass, replace

import pytest

from infscale.endpoint import DiscoveryState
from infscale.metrics.snapshot import IntArray
from picker.directing.director_books import DirectorSettings
from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.request import Decision, Headers, InferenceRequest, ParsedBody, Reason, Rejection
from picker.scheduling.plugin import RequestFacts, SchedulingContext
from picker.scheduling.profile import Selection
from picker.sessions.placement import NOWHERE
from picker.sessions.session_tokens import TokenKeys
from tests.fakes.pools import NO_HEADERS, FakePool, context
from tests.picker.directing.test_director import PROMPT, Bench, ask

HEAD = "apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\n"
PROFILES = """
- type: prefill-filter
- type: decode-filter
- type: encode-filter
- type: queue-scorer
schedulingProfiles:
- {name: prefill, plugins: [{pluginRef: prefill-filter}, {pluginRef: queue-scorer}]}
- {name: decode, plugins: [{pluginRef: decode-filter}, {pluginRef: queue-scorer}]}
- {name: encode, plugins: [{pluginRef: encode-filter}, {pluginRef: queue-scorer}]}
"""
ROLES = ("prefill", "prefill", "decode", "decode", "encode", "encode")
SPLIT = ("prefill", "encode")
ALWAYS = "- type: always-disagg-pd-decider\n- type: always-disagg-multimodal-decider\n"
BOTH = "deciders: {prefill: always-disagg-pd-decider, encode: always-disagg-multimodal-decider}"
PREFILLING = "deciders: {prefill: always-disagg-pd-decider}"


def text(parameters: str, deciders: str = ALWAYS, rest: str = PROFILES) -> str:
    handler = f"- {{type: disagg-profile-handler, parameters: {{{parameters}}}}}\n"
    return f"{HEAD}plugins:\n{deciders}{handler}{rest}"


def config(parameters: str, deciders: str = ALWAYS, rest: str = PROFILES) -> PickerConfig:
    return load_picker_config(text(parameters, deciders, rest), "epp.yaml")


class DisaggregatedBench(Bench):
    """A bench whose endpoints have roles, in their order."""

    def __init__(self, source: str, roles: tuple[str, ...] = ROLES, **more: object) -> None:
        super().__init__(len(roles), source, **more)  # type: ignore[arg-type] # those of a bench
        labelled = zip(self.state.endpoints, roles, strict=True)
        endpoints = tuple(replace(each, labels={"llm-d.ai/role": role}) for each, role in labelled)
        self.sync(DiscoveryState(endpoints, self.state.pools))
        for each in endpoints:
            self.scrape(each)

    def rows(self, decision: Decision) -> dict[str, list[int]]:
        """The rows that were chosen, by what for."""
        assert decision.remote is not None
        places = {each.authority: row for row, each in enumerate(self.state.endpoints)}
        found = {"decode": [places[each] for each in decision.destinations]}
        return found | {each.stage: [places[one] for one in each.authorities] for each in decision.remote.stages}


def with_media(request: InferenceRequest) -> InferenceRequest:
    body = request.body
    assert body is not None
    parsed = ParsedBody(body.api, body.model, body.prompt, body.prompt_tokens, 10, media=(7, 8))
    return InferenceRequest(request.request_id, request.path, request.headers, parsed, request.subset)


@pytest.mark.parametrize(
    ("parameters", "media", "stages"),
    [
        ("", False, {}),
        (PREFILLING, False, {"prefill"}),
        (PREFILLING, True, {"prefill"}),
        (BOTH, False, {"prefill"}),
        (BOTH, True, {*SPLIT}),
        ("deciders: {encode: always-disagg-multimodal-decider}", True, {"encode"}),
        ("deciders: {encode: always-disagg-multimodal-decider}", False, {}),
        ("stageOrder: prefill-first", False, {"prefill"}),
        (
            "stageOrder: PREFILL_FIRST, deciders: {encode: always-disagg-multimodal-decider}",
            True,
            {"encode", "prefill"},
        ),
        ("deciderPluginName: always-disagg-pd-decider", False, {"prefill"}),
        ("prefillDeciderPluginName: always-disagg-pd-decider", False, {"prefill"}),
    ],
)
def test_deciders_say_what_is_done_elsewhere(parameters: str, media: bool, stages: set[str]) -> None:
    bench = DisaggregatedBench(text(parameters))
    for row, waiting in enumerate((5.0, 0.0, 0.0, 5.0, 5.0, 0.0)):
        bench.scrape(bench.state.endpoints[row], waiting=waiting)
    request = with_media(ask()) if media else ask()
    best = {"decode": [2], "prefill": [1], "encode": [5]}
    assert bench.rows(bench.routed(request)) == {stage: best[stage] for stage in ("decode", *stages)}


def test_other_profiles_may_be_named() -> None:
    rest = PROFILES.replace("name: prefill,", "name: p,").replace("name: decode,", "name: d,")
    bench = DisaggregatedBench(text(f"profiles: {{decode: d, prefill: p}}, {PREFILLING}", rest=rest))
    decision = bench.routed(ask())
    assert decision.remote is not None
    assert [each.profile for each in decision.remote.stages] == ["p"]
    assert bench.rows(decision).keys() == {"decode", "prefill"}


@pytest.mark.parametrize(
    ("roles", "parameters", "refused"),
    [
        (("prefill", "encode"), PREFILLING, True),
        (("decode", "encode"), PREFILLING, True),
        (("decode", "encode"), "stageOrder: prefill-first", True),
        (("decode", "encode"), "", False),
        (("decode", "prefill"), BOTH, False),
        (("prefill-decode", "encode"), PREFILLING, False),
    ],
    ids=["no decode", "no prefill", "no prefill, first", "no prefill wanted", "no encode", "one for both"],
)
def test_without_an_endpoint_to_decode_or_for_a_wanted_prefill_there_is_no_choice(
    roles: tuple[str, ...], parameters: str, refused: bool
) -> None:
    bench = DisaggregatedBench(text(parameters), roles)
    answer = bench.director.direct(with_media(ask()), 0.1)
    if refused:
        assert isinstance(answer, Rejection)
        assert answer.reason is Reason.FILTERED_OUT
    else:
        assert isinstance(answer, Decision)
        assert "encode" not in bench.rows(answer)


@dataclass
class Asked:
    """A prompt of 1,000 tokens of which the endpoint has so many cached; `total` is what can be cached at all."""

    tokens: float = 1000.0
    matched: float = 0.0
    total: float = 960.0

    def context(self) -> SchedulingContext:
        facts = RequestFacts("m", NO_HEADERS, self.tokens, 100.0)
        return context(FakePool(2), matched=[self.matched, 0.0], total_tokens=self.total, facts=facts)


@pytest.mark.parametrize(
    ("parameters", "asked", "wanted"),
    [
        ("nonCachedTokens: 512", Asked(), True),
        ("nonCachedTokens: 512", Asked(matched=480.0), True),
        ("nonCachedTokens: 512", Asked(matched=496.0), False),
        ("nonCachedTokens: 1000", Asked(), True),
        ("nonCachedTokens: 1001", Asked(), False),
        ("nonCachedTokens: 0", Asked(), False),
        ("", Asked(), False),
        ("nonCachedTokens: 1, promptTokens: 1000", Asked(), True),
        ("nonCachedTokens: 1, promptTokens: 1001", Asked(), False),
        ("nonCachedTokens: 1", Asked(tokens=10.0, total=0.0), False),
    ],
)
def test_a_prefill_is_done_elsewhere_where_much_of_the_prompt_is_not_cached(
    parameters: str, asked: Asked, wanted: bool
) -> None:
    decider = f"- {{type: prefix-based-pd-decider, parameters: {{{parameters}}}}}\n"
    handler = config("deciders: {prefill: prefix-based-pd-decider}", decider).scheduler.handler
    found = handler.prefill_decider  # type: ignore[attr-defined]
    assert found.wants(asked.context(), 0) is wanted
    assert found.wants(asked.context(), NOWHERE) is False


def test_a_prompt_that_is_cached_where_it_is_decoded_is_computed_there() -> None:
    decider = "- {type: prefix-based-pd-decider, parameters: {nonCachedTokens: 100}}\n"
    bench = DisaggregatedBench(text("deciders: {prefill: prefix-based-pd-decider}", decider), ("prefill", "decode"))
    assert bench.rows(bench.routed(ask(PROMPT))) == {"decode": [1], "prefill": [0]}
    assert bench.rows(bench.routed(ask(PROMPT))) == {"decode": [1]}
    assert bench.rows(bench.routed(ask(b"short"))) == {"decode": [1]}


def labelled_pool() -> FakePool:
    return FakePool(6, waiting=[0.0] * 6, labels=[{"llm-d.ai/role": role} for role in ROLES])


@pytest.mark.parametrize("order", [PREFILLING, "stageOrder: prefill-first"])
def test_room_is_looked_for_where_a_request_is_decoded(order: str) -> None:
    """Endpoints that prefill stay choices for that although only some of the others have room."""
    pool = labelled_pool()

    def room(_: SchedulingContext, rows: IntArray) -> IntArray:
        assert rows.tolist() == [2, 3]
        return rows[1:]

    answer = config(order).decide(context(pool), pool.rows, room)
    assert isinstance(answer, Selection)
    assert answer.chosen == (3,)
    assert answer.remote is not None
    assert [each.selection.chosen[0] in (0, 1) for each in answer.remote.selections] == [True]


STAY = """\
- {type: session-affinity-filter, name: stay-STAGE, parameters: {strategy: signed_token, profileName: STAGE,
   signedTokenConfig: {keys: keys, header: x-STAGE}}}
"""


@pytest.mark.parametrize("order", [PREFILLING, "stageOrder: prefill-first"])
def test_the_fallback_of_a_session_is_one_that_decodes(order: str) -> None:
    """Sessions stay at both endpoints; where the gateway cannot reach one it goes on to another that decodes."""
    filters, rest = "", PROFILES
    for stage in ("prefill", "decode"):
        filters += STAY.replace("STAGE", stage)
        rest = rest.replace(
            f"{{pluginRef: {stage}-filter}}", f"{{pluginRef: {stage}-filter}}, {{pluginRef: stay-{stage}}}"
        )
    bench = DisaggregatedBench(text(order, ALWAYS + filters, rest), settings=DirectorSettings(wall=lambda: 1.0))
    keys = {"keys": TokenKeys((b"k" * 32,))}
    bench.director.configure(replace(config(order, ALWAYS + filters, rest), session_keys=keys))
    first = bench.routed(ask())
    assert {name for name, _ in first.response_headers} == {"x-prefill", "x-decode"}
    for _ in range(10):
        again = bench.rows(bench.routed(ask(given=Headers(first.response_headers))))
        before = bench.rows(first)
        assert again["prefill"] == before["prefill"]
        assert again["decode"] == [before["decode"][0], 5 - before["decode"][0]]


def test_tokens_name_the_endpoint_of_each_stage() -> None:
    stay = "- {type: session-affinity-filter, name: stay, parameters: {profileName: prefill}}\n"
    rest = PROFILES.replace("{pluginRef: prefill-filter}", "{pluginRef: prefill-filter}, {pluginRef: stay}")
    bench = DisaggregatedBench(text(PREFILLING, ALWAYS + stay, rest))
    decision = bench.routed(ask())
    rows = bench.rows(decision)
    token = b64encode(str(bench.state.endpoints[rows["prefill"][0]].key).encode())
    assert decision.response_headers == (("x-session-token", token),)
    # The gateway goes on to the other one that decodes: what prefills stays, and its client is told so.
    moved = bench.director.response_started(decision, 200, bench.authority(5 - rows["decode"][0]), 0.2)
    assert moved.response_headers == decision.response_headers
    assert [each.outcome for each in moved.sessions] == ["new"]
