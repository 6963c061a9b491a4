"""The batch that decodes knows what each of its sequences has without looking at each in every step."""

from hypothesis import given
from hypothesis import strategies as st

from infscale.sim.engine.sequences import DecodeBatch, EngineSequence
from infscale.sim.engine.steps import EngineRequest

BLOCK = 4


def joined(batch: DecodeBatch, request_id: int, prompt: int, output: int) -> EngineSequence:
    seq = EngineSequence(EngineRequest(request_id, prompt, output), 0.0)
    seq.computed, seq.generated = prompt, 1
    batch.join(seq)
    return seq


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(2, 9), st.integers(0, 4)), min_size=1, max_size=8),
    st.sets(st.integers(0, 7), max_size=3),
)
def test_tokens_blocks_and_ends_are_those_of_counting_each_sequence(
    shapes: list[tuple[int, int, int]], leavers: set[int]
) -> None:
    """Sequences of `(prompt, output, step of joining)`; some leave early."""
    batch = DecodeBatch(BLOCK)
    counted: dict[int, list[int]] = {}
    inside: dict[int, EngineSequence] = {}
    for step in range(20):
        for number, (prompt, output, at) in enumerate(shapes):
            if at == step:
                inside[number] = joined(batch, number, prompt, output)
                counted[number] = [prompt, 1]
        assert batch.ids == tuple(counted)
        assert batch.kv_tokens == sum(computed for computed, _ in counted.values())
        short = [number for number, (computed, _) in counted.items() if computed % BLOCK == 0]
        assert batch.begin() == len(short)
        assert [seq.request.id for seq in batch.short()] == short
        for each in counted.values():
            each[0] += 1
            each[1] += 1
        ended = [number for number, (_, generated) in counted.items() if generated == shapes[number][1]]
        assert [seq.request.id for seq in batch.end()] == ended
        for number in [*ended, *(each for each in leavers if each == step and each in counted and each not in ended)]:
            computed, generated = counted.pop(number)
            assert batch.leave(inside[number])
            assert (inside[number].computed, inside[number].generated) == (computed, generated)
            assert not batch.leave(inside[number])


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(2, 30)), min_size=1, max_size=8), st.integers(0, 20))
def test_steps_ahead_end_no_sequence_and_need_no_more_blocks_than_given(
    shapes: list[tuple[int, int]], blocks: int
) -> None:
    batch = DecodeBatch(BLOCK)
    for number, (prompt, output) in enumerate(shapes):
        joined(batch, number, prompt, output)
    steps = batch.steps_without_end(blocks)
    for _ in range(steps):
        blocks -= batch.begin()
        assert not list(batch.end())
    assert blocks >= 0
    assert batch.begin() > blocks or list(batch.end())
