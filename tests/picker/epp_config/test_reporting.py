"""What is told of responses: numbers for the gateway at their end, and who answered."""

import random
import re

import pytest

from infscale.errors import ConfigError
from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.epp_config.reporting import NO_REPORTING, Reporting
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.ext_proc.messages import (
    BodyMode,
    BodyReply,
    HeadersReply,
    Incoming,
    Modes,
    Reported,
    RequestBody,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    TrailersReply,
    Unchanged,
)
from picker.response import ReportedAttribute
from picker.response.expressions import Expression
from tests.fakes.director import FakeDirector
from tests.picker.ext_proc.playbook import Playbook
from tests.picker.ext_proc.test_exchange import BODY, JSON_RESPONSE, headers, post, routed, whole

COST = ReportedAttribute("cost", Expression("usage.completion_tokens"))
ANSWER = b'{"usage":{"completion_tokens":7}}'
TOLD = {"envoy.lb": {"cost": 7.0}}
SHOWN = HeadersReply("response")


def asked(
    modes: Modes | None = None, attributes: tuple[ReportedAttribute, ...] = (COST,), served: bool = False
) -> Playbook:
    """A request that is on its way."""
    settings = ExchangeSettings(attributes=attributes, report_served=served)
    played = Playbook(Exchange(settings, FakeDirector(("10.0.0.1:8000",)), random.Random(1)))
    played >>= Incoming(post(), modes=modes)
    return played << [] >> RequestBody(BODY, end_of_stream=True) << [routed(), whole()]


def test_numbers_come_with_the_last_piece_of_the_body() -> None:
    played = asked() >> ResponseHeaders(headers(*JSON_RESPONSE)) << SHOWN
    played = played >> ResponseBody(ANSWER[:9]) << BodyReply("response", ANSWER[:9])
    last = BodyReply("response", ANSWER[9:], end_of_stream=True)
    assert played >> ResponseBody(ANSWER[9:], end_of_stream=True) << Reported(last, TOLD)


def test_numbers_come_with_trailers_where_those_end_the_response() -> None:
    played = asked() >> ResponseHeaders(headers(*JSON_RESPONSE)) << SHOWN
    played = played >> ResponseBody(ANSWER) << BodyReply("response", ANSWER)
    assert played >> ResponseTrailers() << Reported(TrailersReply("response"), TOLD)


def test_numbers_come_where_the_body_is_only_shown() -> None:
    modes = Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.STREAMED)
    played = asked(modes) >> ResponseHeaders(headers(*JSON_RESPONSE)) << SHOWN
    played = played >> ResponseBody(ANSWER) << Unchanged("response")
    assert played >> ResponseBody(b"", end_of_stream=True) << Reported(Unchanged("response"), TOLD)


@pytest.mark.parametrize(
    ("attributes", "answer"), [((COST,), b"{}"), ((), ANSWER)], ids=["nothing is known", "nothing is asked for"]
)
def test_nothing_is_told_of_what_is_not_known(attributes: tuple[ReportedAttribute, ...], answer: bytes) -> None:
    played = asked(attributes=attributes) >> ResponseHeaders(headers(*JSON_RESPONSE)) << SHOWN
    assert played >> ResponseBody(answer, end_of_stream=True) << BodyReply("response", answer, end_of_stream=True)


@pytest.mark.parametrize(
    ("served", "said"), [("10.0.0.2:8000", b"10.0.0.2:8000"), (None, b"fail: missing envoy lb metadata")]
)
def test_response_headers_say_who_answered(served: str | None, said: bytes) -> None:
    played = asked(served=True)
    played >>= Incoming(ResponseHeaders(headers(*JSON_RESPONSE)), served=served)
    assert played << HeadersReply("response", (("x-conformance-test-served-endpoint", said),))


# The configuration

HEAD = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
REPORTER = "- {type: request-attribute-reporter, parameters: {attributes: ATTRIBUTES}}\n"


def loaded(plugins: str) -> PickerConfig:
    return load_picker_config(HEAD + plugins, "epp.yaml")


def test_reporters_are_read_and_may_stand_in_profiles() -> None:
    first = REPORTER.replace("ATTRIBUTES", "[{key: {name: cost}, expression: usage.completion_tokens}]")
    second = """\
- name: total
  type: request-attribute-reporter
  parameters:
    attributes:
    - key: {namespace: acme, name: total}
      expression: |
        usage.prompt_tokens + usage.completion_tokens
      condition: has(usage.prompt_tokens)
- {type: destination-endpoint-served-verifier}
schedulingProfiles: [{name: default, plugins: [{pluginRef: total}]}]
"""
    total = ReportedAttribute(
        "total",
        Expression("usage.prompt_tokens + usage.completion_tokens\n"),
        Expression("has(usage.prompt_tokens)"),
        "acme",
    )
    config = loaded(first + second)
    assert config.reporting == Reporting((COST, total), served=True)
    assert {each.uses for each in config.plugins} == {("every response",)}
    assert loaded("- {type: queue-scorer}\n").reporting == NO_REPORTING


@pytest.mark.parametrize(
    ("plugin", "problem"),
    [
        ("- {type: request-attribute-reporter}", "epp.yaml:4: plugins[0]: parameter 'attributes' is missing"),
        (REPORTER.replace("ATTRIBUTES", "[]"), "attributes: expected at least one attribute"),
        (REPORTER.replace("ATTRIBUTES", "[{key: {name: a}}]"), "attributes[0]: key 'expression' is missing"),
        (REPORTER.replace("ATTRIBUTES", "[{key: {}, expression: '1'}]"), "attributes[0].key: key 'name' is missing"),
        (
            REPORTER.replace("ATTRIBUTES", "[{key: {name: a}, expression: tokens}]"),
            "attributes[0].expression: character 1: expected a number of the response, such as usage.prompt_tokens",
        ),
        (
            REPORTER.replace("ATTRIBUTES", "[{key: {name: a}, expression: '1', condition: '1 >'}]"),
            "attributes[0].condition: character 4: expected a number, a name or '('",
        ),
        ("- {type: destination-endpoint-served-verifier, parameters: {x: 1}}", "parameters.x: unknown key"),
    ],
)
def test_what_cannot_be_reported_is_refused(plugin: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        loaded(plugin)
