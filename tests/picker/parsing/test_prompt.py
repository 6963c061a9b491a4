"""Prompts as bytes: equal beginnings of conversations are equal beginnings of bytes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.errors import RequestError
from picker.parsing.prompt import chat_prompt, conversation_prompt, estimated_tokens, responses_prompt, text_or_tokens

_MESSAGES: st.SearchStrategy[list[Any]] = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": st.text(max_size=8)}), max_size=5
)


@given(_MESSAGES, _MESSAGES)
def test_a_conversation_that_goes_on_begins_as_it_was(before: list[Any], later: list[Any]) -> None:
    assert chat_prompt(None, "be kind", [*before, *later]).startswith(chat_prompt(None, "be kind", before))
    assert conversation_prompt([*before, *later]).startswith(conversation_prompt(before))


def test_tools_come_first_and_calls_belong_to_their_message() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    assert chat_prompt([{"name": "t"}], "s", [message]) == b'[{"name":"t"}]\ns\nassistant\n\n[{"id":"1"}]'
    assert responses_prompt([{"name": "t"}], "i", "hello") == b'[{"name":"t"}]\ni\nhello'


@pytest.mark.parametrize(
    ("value", "prompt", "tokens"),
    [
        ("hello", b"hello", 2),
        (["ab", "cd"], b"ab\ncd", 2),
        ([1, 2.0, 2**32 - 1], b"\1\0\0\0\2\0\0\0\xff\xff\xff\xff", 3),
        ([[1], [2]], b"\1\0\0\0\2\0\0\0", 2),
    ],
    ids=["a text", "texts", "token ids", "lists of token ids"],
)
def test_texts_are_estimated_and_token_ids_counted(value: object, prompt: bytes, tokens: int) -> None:
    assert text_or_tokens(value, "prompt") == (prompt, tokens)


@pytest.mark.parametrize("value", [None, [], 5, ["a", 1], [[]], [True], [-1], [1.5], [2**32], [["a"]]], ids=str)
def test_what_is_neither_is_refused_by_its_field(value: object) -> None:
    with pytest.raises(RequestError, match=r"^prompt must "):
        text_or_tokens(value, "prompt")


def test_tokens_are_rounded_up() -> None:
    assert [estimated_tokens(size) for size in (0, 1, 4, 5)] == [0, 1, 1, 2]
