"""Workloads one can ask for by name, with the servers that suit them. Published parameters, but where a row says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from infscale.sim.load.distributions.arrival_times import Arrivals
from infscale.sim.load.distributions.lengths import (
    NOTHING,
    Lengths,
    Shape,
    even,
    fixed,
    lognormal,
    lognormal_of_logarithms,
)
from infscale.sim.load.distributions.popularity import EVENLY, Popularity
from infscale.sim.load.group_load import GroupLoad
from infscale.sim.load.session_load import SessionLoad
from infscale.sim.load.trace_load import TracePlay
from infscale.sim.load.traffic import LoadTarget
from infscale.sim.load.virtual_request import RequestClass

Template = GroupLoad | SessionLoad | TracePlay
"""A workload but for its target and, of a trace, its file."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many servers of a coefficient set, which the workload loads well at its rate."""

    coefficients: str
    servers: int


@dataclass(frozen=True, slots=True)
class NamedWorkload:
    """A row of the table. `about` says what it is, in a line."""

    name: str
    about: str
    fleet: Fleet
    template: Template


_PEOPLE: Final = LoadTarget("")
_WORK: Final = LoadTarget("", request_class=RequestClass.BATCH)
_QWEN_32B: Final = Fleet("qwen3-32b-h100-tp2", 8)
_LLAMA_8B: Final = Fleet("llama-3.1-8b-h100", 4)
_LLAMA_8B_A100: Final = Fleet("llama-3.1-8b-a100", 8)
_SECONDS: Final = 300.0
_ONE: Final = fixed(1)

_SHAREGPT_QUESTION: Final = lognormal(240, 400, 4096)
_SHAREGPT_ANSWER: Final = lognormal(215, 190, 2048)
_AZURE_QUESTION: Final = lognormal_of_logarithms(6.63, 0.985, 14_050)
_AZURE_ANSWER: Final = lognormal_of_logarithms(5.02, 0.86, 1_500)


def _groups(  # noqa: PLR0913 # one for each column of the table
    rate: float,
    groups: int,
    users: int,
    system: float,
    question: Lengths,
    output: Lengths,
    turns: int = 1,
    cv: float = 1.0,
    popularity: Popularity = EVENLY,
    loras: int = 0,
) -> GroupLoad:
    arrivals = Arrivals(_SECONDS, (rate,), cv)
    return GroupLoad(_PEOPLE, arrivals, question, output, groups, users, fixed(system), turns, popularity, loras)


def _alone(question: Lengths, output: Lengths, rates: tuple[float, ...], cv: float = 1.0) -> GroupLoad:
    """Requests that share nothing."""
    return GroupLoad(_PEOPLE, Arrivals(_SECONDS, rates, cv), question, output)


def _sessions(  # noqa: PLR0913 # one for each column of the table
    rate: float,
    first: Lengths,
    output: Lengths,
    turns: Lengths = _ONE,
    question: Lengths = NOTHING,
    think: Lengths = NOTHING,
    system: float = 0,
    seconds: float = 600.0,
    target: LoadTarget = _PEOPLE,
) -> SessionLoad:
    return SessionLoad(target, Arrivals(seconds, (rate,)), first, output, question, turns, think, 1, fixed(system))


CHATS: Final = _groups(20, 48, 4, 3000, even(150, 0.5), even(80, 0.5), turns=4, cv=2.0)
"""The demo's load."""

_ROWS: Final = (
    NamedWorkload(
        "chats",
        "the demo's load: teams with long system prompts, users that chat in turns, bursts",
        Fleet("llama-2-7b-a100", 8),
        CHATS,
    ),
    NamedWorkload(
        "b2b-saas",
        "llm-d: 150 customers with long system prompts, five users each",
        _QWEN_32B,
        _groups(10, 150, 5, 6000, fixed(1200), fixed(1000)),
    ),
    NamedWorkload(
        "scenario-a",
        "predicted latency, A: six prompts for thousands of users, short questions, long answers",
        _QWEN_32B,
        _groups(16, 6, 1000, 1000, even(30, 0.3), even(1000, 0.3), turns=4),
    ),
    NamedWorkload(
        "scenario-b",
        "predicted latency, B: as A with long questions",
        _QWEN_32B,
        _groups(10, 6, 1000, 1000, even(3000, 0.3), even(1000, 0.3), turns=4),
    ),
    NamedWorkload(
        "scenario-c",
        "predicted latency, C: many long system prompts",
        _QWEN_32B,
        _groups(7, 150, 5, 6000, even(1200, 0.3), even(1000, 0.3), turns=4),
    ),
    NamedWorkload(
        "scenario-d",
        "predicted latency, D: many short system prompts, long questions",
        _QWEN_32B,
        _groups(4, 150, 5, 1000, even(6200, 0.3), even(1000, 0.3), turns=4),
    ),
    NamedWorkload(
        "kthena",
        "256 groups of 32 users that share 4,096 tokens; lengths of questions and answers assumed",
        Fleet("qwen2.5-7b-h100", 3),
        _groups(20, 256, 32, 4096, even(256, 0.5), even(256, 0.5)),
    ),
    NamedWorkload(
        "production",
        "predicted latency's production profile: one prompt, sizes that vary a hundredfold, two rates in turns",
        Fleet("qwen3-32b-h100-tp2", 4),
        GroupLoad(
            _PEOPLE,
            Arrivals(480.0, (1.0, 5.0) * 4),
            lognormal(729, 13_550, 130_000),
            lognormal(300, 2_213, 8_192),
            system=fixed(1000),
        ),
    ),
    NamedWorkload(
        "sharegpt",
        "lengths like ShareGPT's, nothing shared",
        _LLAMA_8B,
        _alone(_SHAREGPT_QUESTION, _SHAREGPT_ANSWER, (100.0,)),
    ),
    NamedWorkload(
        "lora-mix",
        "16 LoRA adapters, asked for by Zipf's law, lengths like ShareGPT's",
        _LLAMA_8B,
        _groups(24, 16, 1, 200, _SHAREGPT_QUESTION, _SHAREGPT_ANSWER, popularity=Popularity(exponent=1.1), loras=16),
    ),
    NamedWorkload(
        "conversation",
        "lengths like Azure's conversations of 2023, nothing shared",
        _LLAMA_8B_A100,
        _alone(_AZURE_QUESTION, _AZURE_ANSWER, (36.0,)),
    ),
    NamedWorkload(
        "bursts",
        "lengths and bursts like Azure's code requests of 2023, nothing shared",
        _LLAMA_8B_A100,
        _alone(lognormal_of_logarithms(7.00, 1.36, 7_437), lognormal_of_logarithms(2.79, 0.85, 600), (40.0,), cv=2.08),
    ),
    NamedWorkload(
        "surge",
        "as `conversation`, four times the load for a third of the time",
        _LLAMA_8B_A100,
        _alone(_AZURE_QUESTION, _AZURE_ANSWER, (12.0, 48.0, 12.0)),
    ),
    NamedWorkload(
        "hot-prefix",
        "seven of ten requests share one long prompt, which is more than one server can bear",
        Fleet("llama-3.1-8b-h100", 8),
        _groups(60, 20, 1, 8000, even(200, 0.5), even(100, 0.5), popularity=Popularity(first=0.7)),
    ),
    NamedWorkload(
        "no-prefix",
        "requests of one size, nothing shared",
        _LLAMA_8B_A100,
        _alone(fixed(1000), fixed(200), (20.0,)),
    ),
    NamedWorkload(
        "interactive-chat",
        "inference-perf: users read and think between turns; lengths of later questions assumed",
        _QWEN_32B,
        _sessions(
            16,
            lognormal(4000, 2500),
            Lengths(Shape.NORMAL, 300, 150),
            lognormal(4, 2.5),
            lognormal(200, 150),
            lognormal(45, 40),
            system=1000,
        ),
    ),
    NamedWorkload(
        "code-generation",
        "inference-perf: whole repositories as context, many quick turns; six turns assumed",
        _QWEN_32B,
        _sessions(
            0.8,
            lognormal(160_000, 234_000),
            lognormal(425, 825),
            lognormal(6, 4),
            lognormal(1500, 1200),
            lognormal(15, 55),
        ),
    ),
    NamedWorkload(
        "deep-research",
        "inference-perf: long reports, built in many turns; lengths of what turns add assumed",
        _QWEN_32B,
        _sessions(
            1.2,
            Lengths(Shape.EXPONENTIAL, 45_000),
            Lengths(Shape.TWO_MODES, 300, 850),
            lognormal(15, 8.5),
            lognormal(1500, 1200),
            lognormal(25, 12),
            seconds=1800.0,
        ),
    ),
    NamedWorkload(
        "agents",
        "inference-perf's agentic traces: 22 calls a task, each with all before it; first lengths assumed",
        _QWEN_32B,
        _sessions(
            1.5,
            lognormal(20_000, 40_000),
            lognormal(659, 3073, 8_192),
            lognormal(21.9, 23.4, 200),
            lognormal(2000, 4000),
            lognormal(13, 176),
            system=3000,
            seconds=1800.0,
        ),
    ),
    NamedWorkload(
        "reasoning",
        "inference-perf: short questions, very long answers",
        _QWEN_32B,
        _sessions(3, lognormal(1000, 800), Lengths(Shape.EXPONENTIAL, 8000), system=250),
    ),
    NamedWorkload(
        "long-conversations",
        "lengths and reuse like Mooncake's conversations, for where its trace is not at hand",
        _QWEN_32B,
        _sessions(
            4,
            lognormal_of_logarithms(8.74, 1.20, 85_000),
            lognormal_of_logarithms(5.34, 1.36, 2_000),
            Lengths(Shape.EXPONENTIAL, 2.0),
            lognormal(500, 1000),
            Lengths(Shape.EXPONENTIAL, 100),
            system=512,
            seconds=1250.0,
        ),
    ),
    NamedWorkload(
        "batch-rag",
        "inference-perf: documents to be read, when there is time",
        _QWEN_32B,
        _sessions(3, Lengths(Shape.TWO_MODES, 15_000, 22_000), Lengths(Shape.NORMAL, 500, 300), target=_WORK),
    ),
    NamedWorkload(
        "batch-synth",
        "inference-perf: texts to be written, when there is time",
        _QWEN_32B,
        _sessions(4, lognormal(500, 1200), even(4250, 0.882), target=_WORK),
    ),
    NamedWorkload(
        "mooncake",
        "a Mooncake trace (JSON lines), at 4 requests a second",
        _QWEN_32B,
        TracePlay(requests=5000, rate=4.0),
    ),
    NamedWorkload(
        "azure",
        "an Azure trace (CSV), at 36 requests a second",
        _LLAMA_8B_A100,
        TracePlay(requests=5000, rate=36.0),
    ),
    NamedWorkload("trace", "any trace or recording as it is", _QWEN_32B, TracePlay()),
)

NAMED_WORKLOADS: Final[Mapping[str, NamedWorkload]] = MappingProxyType({row.name: row for row in _ROWS})

MIXTURES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "two-classes": ("interactive-chat:rate=8", "batch-rag:rate=0.7"),
        "elephants": ("no-prefix:rate=30,question=500,output=100", "no-prefix:rate=0.9,question=40000,output=100"),
    }
)
"""Names of several workloads at once."""
