"""Traces are read strictly, whatever their format, and what is wrong is named with its line."""

import pytest

from infscale.errors import ConfigError
from infscale.recording.recorded_request import PrefixDigests, RecordedRequest, header_line
from infscale.sim.load.trace_formats import parse_trace
from infscale.sim.load.traces import TraceRequest
from infscale.sim.load.virtual_request import RequestClass

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:16:01,12,1
"""


def line(timestamp: int, tokens: int, blocks: list[int], output: int = 5) -> str:
    return f'{{"timestamp": {timestamp}, "input_length": {tokens}, "output_length": {output}, "hash_ids": {blocks}}}'


MOONCAKE = "\n".join(
    [
        line(0, 1100, [0, 1, 2]),
        line(500, 1100, [0, 3, 4]),
        "",
        line(900, 1600, [0, 1, 2, 5]),
        line(1500, 300, [0]),
    ]
)


def parsed(text: str) -> tuple[TraceRequest, ...]:
    return parse_trace(text, "trace")


def test_mooncake_requests_are_grouped_by_the_first_block_that_not_all_share() -> None:
    requests = parsed(MOONCAKE)
    assert [request.at_seconds for request in requests] == [0.0, 0.5, 0.9, 1.5]
    assert [request.input_tokens for request in requests] == [1100, 1100, 1600, 300]
    first, second, third, fourth = (request.group for request in requests)
    assert first == third
    assert len({first, second, fourth}) == 3


def test_azure_requests_count_from_the_first_and_share_nothing() -> None:
    requests = parsed(AZURE)
    assert [round(request.at_seconds, 3) for request in requests] == [0.0, 4.315, 14.319]
    assert [(request.input_tokens, request.output_tokens) for request in requests] == [(374, 44), (396, 109), (12, 1)]
    assert all(request.blocks == () for request in requests)
    assert len({request.group for request in requests}) == 3


def test_requests_are_in_order_of_arrival_even_where_the_file_is_not() -> None:
    requests = parsed("\n".join([line(4000, 10, [7]), line(1000, 10, [8])]))
    assert [request.at_seconds for request in requests] == [0.0, 3.0]
    assert requests[0].blocks == (8,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "trace: the trace is empty", id="empty"),
        pytest.param("\n \n", "trace: the trace is empty", id="blank"),
        pytest.param("{nonsense", "trace:1: expected one JSON object", id="not JSON"),
        pytest.param(MOONCAKE + "\n[1]", "trace:6: expected one JSON object per line", id="a list"),
        pytest.param(line(-1, 10, [1]), "trace:1: timestamp: expected a whole number at least 0", id="before time"),
        pytest.param(line(0, 0, []), "trace:1: input_length: expected a whole number within 1", id="no input"),
        pytest.param(line(0, 10, [1], 0), "trace:1: output_length: expected a whole number within 1", id="no output"),
        pytest.param(line(0, 513, [1]), "trace:1: hash_ids: 513 tokens are 2 blocks of 512, got 1", id="block count"),
        pytest.param(
            '{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": ["x"]}',
            "trace:1: hash_ids: expected whole numbers",
            id="block type",
        ),
        pytest.param(
            '{"timestamp": 0, "input_length": true, "output_length": 1, "hash_ids": [1]}',
            "trace:1: input_length: expected a whole number",
            id="boolean",
        ),
        pytest.param(
            '{"timestamp": 0, "input_length": 1, "output_length": 1}',
            "trace:1: hash_ids: expected a list",
            id="no blocks",
        ),
        pytest.param("time,in,out\n1,2,3", "trace:1: expected JSON lines, or CSV with the columns", id="other CSV"),
        pytest.param("TIMESTAMP,ContextTokens,GeneratedTokens\n", "trace: the trace has a header but", id="header"),
        pytest.param(AZURE + "2023-11-16 18:16:02,5", "trace:5: expected 3 cells, got 2", id="short row"),
        pytest.param(AZURE + "yesterday,5,5", "trace:5: TIMESTAMP: expected a date", id="no date"),
        pytest.param(AZURE + "2023-11-16 18:16:02,5.5,5", "trace:5: ContextTokens: expected a whole", id="fraction"),
        pytest.param(
            AZURE + "2023-11-16 18:16:02," + "9" * 5000 + ",5", "trace:5: ContextTokens: expected a whole", id="huge"
        ),
        pytest.param(AZURE + '"2023-11-16 18:16:02\n,1,1', "trace:5: expected 3 cells, got 1", id="open quote"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parsed(text)
    assert message in str(refused.value)


def recorded(
    at: float,
    prompt: bytes = b"",
    output: int | None = 30,
    end: str = "completed",
    model: str = "model",
    lora: bool = False,
    **more: int,
) -> str:
    """A line about a request, whose prompt's digests are made with one secret."""
    request = RecordedRequest(
        at,
        model,
        more.get("priority", 0),
        more.get("prompt_tokens", len(prompt) // 4),
        output,
        None,
        PrefixDigests(b"secret").of("model", prompt),
        end,
        more.get("status", 200),
        lora,
    )
    return request.line().decode()


BEGUN = header_line("2026-11-30T12:00:00Z").decode()
LONG = bytes(range(256)) * 40


def test_what_was_recorded_is_played_with_the_prefixes_that_were_shared() -> None:
    text = BEGUN + recorded(3.0, LONG[:2000]) + recorded(1.5, LONG) + recorded(2.0, LONG[::-1], priority=-1)
    first, second, third = parsed(text)
    assert [one.at_seconds for one in (first, second, third)] == [0.0, 0.5, 1.5]
    assert (first.input_tokens, second.input_tokens, third.input_tokens) == (2560, 2560, 500)
    # 32 blocks of 64 tokens, then four of 128.
    assert first.sizes == (64,) * 32 + (128,) * 4
    assert third.blocks == first.blocks[:7]
    assert not set(first.blocks) & set(second.blocks)
    assert first.group == third.group != second.group
    assert second.request_class is RequestClass.BATCH
    assert first.request_class is RequestClass.INTERACTIVE


def test_answers_whose_length_was_not_recorded_have_the_others_mean_or_what_is_said() -> None:
    text = BEGUN + recorded(0.0, LONG, 20) + recorded(1.0, LONG, None) + recorded(2.0, LONG, 40)
    assert [one.output_tokens for one in parsed(text)] == [20, 30, 40]
    assert [one.output_tokens for one in parse_trace(text, "trace", 500)] == [20, 500, 40]
    with pytest.raises(ConfigError, match="no answer's length was recorded"):
        parsed(BEGUN + recorded(0.0, LONG, None))


def test_a_model_is_a_lora_adapter_if_that_was_said_of_any_of_its_requests() -> None:
    """All others are the base model, by whatever names."""
    text = BEGUN + recorded(0.0, LONG, model="tuned") + recorded(1.0, LONG, model="base", status=200)
    text += recorded(2.0, LONG, model="tuned", lora=True) + recorded(3.0, LONG, None, "refused", "tuned", status=429)
    assert [one.lora for one in parsed(text)] == ["tuned", None, "tuned", "tuned"]
    assert [one.lora for one in parsed(MOONCAKE)] == [None] * 4


def test_requests_that_were_refused_for_load_are_played_and_mistakes_are_not() -> None:
    ends = [
        recorded(0.0, LONG, None, "refused", status=429),
        recorded(1.0, LONG, None, "refused", status=503),
        recorded(2.0, LONG, None, "refused", status=404),
        recorded(3.0, LONG, 9, "aborted", status=200),
    ]
    assert [one.at_seconds for one in parsed(BEGUN + "".join(ends))] == [0.0, 1.0, 3.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"infscale_recording": 2}', "trace:1: infscale_recording: expected 1, which this program reads"),
        (BEGUN, "trace: the trace has a header but no requests"),
        (BEGUN + "{}", "trace:2: at: expected a number of seconds"),
        (BEGUN + recorded(0.0).replace('"prefixes":""', '"prefixes":"%"'), "trace:2: prefixes: expected base64"),
        (
            BEGUN + recorded(0.0).replace('"prefixes":""', '"prefixes":"AAAA"'),
            "trace:2: prefixes: expected digests of 6",
        ),
        (BEGUN + recorded(0.0).replace('"model":"model"', '"model":7'), "trace:2: model: expected a text"),
        (BEGUN + recorded(0.0, prompt_tokens=-1), "trace:2: prompt_tokens: expected a whole number, at least 0"),
    ],
)
def test_a_bad_recording_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parsed(text)
    assert message in str(refused.value)
