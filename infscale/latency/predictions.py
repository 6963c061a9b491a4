"""What step models predict, for many endpoints at once.

Every argument is one number, or an array with one per row of the models; results are arrays of seconds unless they say
otherwise. Unknown is NaN and stays it: where a model is not known, nothing is predicted.

Requests of a batch take their steps together: a sequence gets one token in each step, a prompt is computed in as many
steps as the engine's budget of tokens makes of it, and all that is in the batch prolongs every step.
"""

from typing import Final

import numpy as np

from infscale.latency.step_columns import FloatArray, StepColumns

USUAL_BUDGET_TOKENS: Final = 8192.0
"""Tokens that an engine computes in one step at most, where it does not say (vLLM, max_num_batched_tokens)."""

Numbers = float | FloatArray


def step_seconds(steps: StepColumns, prefill_tokens: Numbers, kv_tokens: Numbers, sequences: Numbers) -> FloatArray:
    """One step that computes `prefill_tokens` of prompts beside `sequences` with `kv_tokens` of context in all."""
    found: FloatArray = (
        steps.base
        + steps.per_prefill_token * prefill_tokens
        + steps.per_kv_token * kv_tokens
        + steps.per_sequence * sequences
    )
    return found


def time_per_output_token(
    steps: StepColumns, kv_tokens: Numbers, sequences: Numbers, prefill_per_second: Numbers = 0.0
) -> FloatArray:
    """The mean time between two tokens of a sequence, while prompts of so many tokens a second are computed beside it.

    A step gets ``prefill_per_second · T`` prompt tokens, so that ``T = decode ÷ (1 - b · prefill_per_second)``. It is
    infinite where prompts come faster than they can be computed.
    """
    free = 1.0 - steps.per_prefill_token * prefill_per_second
    with np.errstate(divide="ignore", invalid="ignore"):
        seconds: FloatArray = np.where(free > 0.0, step_seconds(steps, 0.0, kv_tokens, sequences) / free, np.inf)
    return np.where(np.isnan(free), np.nan, seconds)


def time_to_first_token(
    steps: StepColumns,
    uncached_tokens: Numbers,
    pending_tokens: Numbers,
    kv_tokens: Numbers,
    sequences: Numbers,
    budget_tokens: Numbers = USUAL_BUDGET_TOKENS,
) -> FloatArray:
    """Until the first token of a prompt of `uncached_tokens` to be computed, behind `pending_tokens` of others.

    Each step computes `budget_tokens` at most and lasts as long as one that only decodes, and the prompt's share more.
    Room in the KV cache is not waited for.
    """
    tokens = np.asarray(uncached_tokens, dtype=np.float64) + pending_tokens
    chunks = np.maximum(1.0, np.ceil(tokens / budget_tokens))
    found: FloatArray = steps.per_prefill_token * tokens + chunks * step_seconds(steps, 0.0, kv_tokens, sequences)
    return found


def drain_seconds(
    steps: StepColumns,
    pending_tokens: Numbers,
    longest_output_tokens: Numbers,
    kv_tokens: Numbers,
    sequences: Numbers,
    budget_tokens: Numbers = USUAL_BUDGET_TOKENS,
) -> FloatArray:
    """Until all that an engine has is done, if nothing more comes: pending prompts, and the longest answer after them.

    The batch is taken to stay as large as it is, so it is an upper estimate; 0 where there is nothing to do.
    """
    pending, longest = np.asarray(pending_tokens, dtype=np.float64), np.asarray(longest_output_tokens, dtype=np.float64)
    rounds = np.ceil(pending / budget_tokens) + longest
    found: FloatArray = steps.per_prefill_token * pending + rounds * step_seconds(steps, 0.0, kv_tokens, sequences)
    return np.where((pending == 0.0) & (longest == 0.0), found * 0.0, found)


def room_for_sequences(
    steps: StepColumns, kv_tokens: Numbers, sequences: Numbers, context_tokens: Numbers, tpot_seconds: Numbers
) -> FloatArray:
    """How many more sequences of `context_tokens` each fit until a token takes longer than `tpot_seconds`.

    It is a whole number, 0 where it takes as long already, infinite where another sequence costs nothing.
    """
    each = steps.per_sequence + steps.per_kv_token * np.asarray(context_tokens, dtype=np.float64)
    left = np.asarray(tpot_seconds, dtype=np.float64) - step_seconds(steps, 0.0, kv_tokens, sequences)
    with np.errstate(divide="ignore", invalid="ignore"):
        fitting: FloatArray = np.where(left <= 0.0, 0.0 * each, np.floor(left / each))
    return np.where(np.isnan(left), np.nan, fitting)
