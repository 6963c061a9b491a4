"""A workload is asked for in words, and a wrong word is answered with the right ones."""

import random
from itertools import islice

import orjson
import pytest

from infscale.errors import ConfigError
from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.load.mixed_load import MixedLoad
from infscale.sim.load.named.named_workloads import MIXTURES, NAMED_WORKLOADS
from infscale.sim.load.named.workload_choice import choose_workload
from infscale.sim.load.traffic import LoadTarget, Traffic
from infscale.sim.load.virtual_request import RequestClass

ROWS = "\n".join(
    f'{{"timestamp": {100 * number}, "input_length": 600, "output_length": 4, "hash_ids": [0, {number}]}}'
    for number in range(50)
)


def read(path: str) -> str:
    return {"traces/a.jsonl": ROWS}[path]


def traffic(*texts: str, target: LoadTarget | None = None) -> Traffic:
    return choose_workload(texts).traffic(target or LoadTarget("model"), read)


@pytest.mark.parametrize("name", [*NAMED_WORKLOADS, *MIXTURES])
def test_every_workload_makes_requests_that_its_servers_can_hold(name: str) -> None:
    row = NAMED_WORKLOADS.get(name)
    text = f"{name}:file=traces/a.jsonl" if row is not None and hasattr(row.template, "speed") else name
    choice = choose_workload([text])
    servers = coefficient_set(choice.fleet.coefficients)
    room = min(servers.num_blocks * servers.block_size, 131_072)
    made = traffic(text, target=LoadTarget("model", max_tokens=room))
    requests = list(islice(made.stream(random.Random(1)).arriving(), 300))
    assert len(requests) >= 50
    assert all(one.engine_prompt_tokens + one.output_tokens <= room for one in requests)
    assert all(one.model == (one.lora or "model") for one in requests)
    orjson.dumps(made.description())


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("chats:rate=3", ("arrivals", "rates"), (3.0,)),
        ("chats:rate=3/10/20,seconds=90", ("arrivals", "rates"), (3.0, 10.0, 20.0)),
        ("chats:rate=5,requests=1000", ("arrivals", "seconds"), 200.0),
        ("chats:cv=1", ("arrivals", "cv"), 1.0),
        ("chats:groups=7", ("groups",), 7),
        ("chats:system=500", ("system", "mean"), 500.0),
        ("chats:question=300", ("question", "spread"), 150.0),
        ("chats:question=300/30", ("question", "spread"), 30.0),
        ("chats:zipf=1.5", ("popularity", "exponent"), 1.5),
        ("chats:hot=0.5", ("popularity", "first"), 0.5),
        ("chats:loras=4", ("loras",), 4),
        ("interactive-chat:think=10", ("think", "mean"), 10.0),
        ("interactive-chat:turns=2/1", ("turns", "mean"), 2.0),
        ("chats:class=batch", ("target", "request_class"), "batch"),
        ("batch-rag", ("target", "request_class"), "batch"),
        ("batch-rag:class=interactive", ("target", "request_class"), "interactive"),
        ("trace:file=traces/a.jsonl,start=2,speed=4", ("play", "start_seconds"), 2.0),
        ("mooncake:file=traces/a.jsonl,requests=20", ("play", "requests"), 20),
        ("mooncake:file=traces/a.jsonl", ("file",), "a.jsonl"),
        ("trace:file=traces/a.jsonl,output=300", ("play", "output_tokens"), 300),
    ],
)
def test_a_parameter_changes_what_it_names(text: str, path: tuple[str, ...], value: object) -> None:
    said: object = orjson.loads(orjson.dumps(traffic(text).description()))
    for key in path:
        assert isinstance(said, dict)
        said = said[key]
    assert said == (list(value) if isinstance(value, tuple) else value)


def test_several_workloads_are_played_side_by_side() -> None:
    made = traffic("chats:rate=2", "batch-rag:rate=1")
    assert isinstance(made, MixedLoad)
    requests = made.stream(random.Random(1)).arriving()
    assert {one.request_class for one in islice(requests, 100)} == set(RequestClass)
    assert choose_workload(["chats", "batch-rag"]).fleet == NAMED_WORKLOADS["chats"].fleet


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chat", "unknown name 'chat'; there are agents, azure"),
        ("chats:rate", "workload chats: expected key=value, got 'rate'"),
        ("chats:rat=3", "workload chats: rat: unknown; there are rate, seconds,"),
        ("chats:rate=fast", "workload chats: rate: expected a number, got 'fast'"),
        ("chats:rate=-1", "workload chats: rate: expected numbers of which none is negative"),
        ("chats:rate=nan", "workload chats: rate: expected numbers"),
        ("chats:groups=1.5", "workload chats: groups: expected a whole number, got '1.5'"),
        ("chats:groups=0", "workload chats: groups: expected a whole number, at least 1"),
        ("chats:question=-3", "workload chats: question: mean and spread are not negative"),
        ("chats:class=best", "workload chats: class: expected interactive or batch, got 'best'"),
        ("interactive-chat:turns=0", "workload interactive-chat: turns: expected a number, at least 1"),
        ("mooncake", "workload mooncake: expected the trace: mooncake:file=PATH"),
        ("mooncake:file=traces/a.jsonl,speed=0", "workload mooncake: speed: expected a number above 0"),
        ("two-classes:rate=3", "workload two-classes: is a mixture without parameters; write it out: interactive"),
        ("", "unknown name ''"),
    ],
)
def test_a_wrong_word_is_named_with_what_is_expected(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        traffic(text)
    assert message in str(refused.value)


def test_something_has_to_be_asked_for() -> None:
    with pytest.raises(ConfigError):
        choose_workload([])
