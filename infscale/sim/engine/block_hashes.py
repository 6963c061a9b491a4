"""Hashes of a prompt's KV blocks: chained, so that one hash stands for everything up to its block's end.

A long prompt has a thousand blocks, so that they are hashed together: the words of a block are scrambled and summed up
with weights, and ``chain = chain · factor + block`` is a running sum in numbers modulo 2^64. They are for simulation:
different prompts have different hashes unless one is made to collide.
"""

from functools import lru_cache
from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

_WORD_BYTES: Final = 4
_MASK: Final = (1 << 64) - 1
_SCRAMBLE: Final = np.uint64(0x9E3779B97F4A7C15)
_HALF: Final = np.uint64(32)
# Odd: it has an inverse modulo 2^64.
_FACTOR: Final = 0xD1342543DE82EF95
_SIZES_REMEMBERED: Final = 64

_Numbers = NDArray[np.uint64]


def block_hashes(text: bytes, block_bytes: int, root: str) -> tuple[int, ...]:
    """The chained hashes of the full blocks of `text`, each of a multiple of four bytes.

    `root`, the LoRA adapter's name, separates what is not shared.
    """
    count = len(text) // block_bytes
    if count == 0:
        return ()
    width = block_bytes // _WORD_BYTES
    words = np.frombuffer(text, "<u4", count * width).astype(np.uint64)
    words *= _SCRAMBLE
    words ^= words >> _HALF
    blocks = words.reshape(count, width) @ _weights(width)
    rising, falling = _powers(1 << count.bit_length())
    blocks *= falling[:count]
    chained = np.cumsum(blocks, out=blocks)
    chained += np.uint64(xxhash.xxh3_64_intdigest(root.encode()))
    chained *= rising[:count]
    return tuple(chained.tolist())


@lru_cache(_SIZES_REMEMBERED)
def _weights(width: int) -> _Numbers:
    """A random odd number for each word of a block."""
    weights = np.frombuffer(b"".join(map(_random_bytes, range(width))), np.uint64)
    return weights | np.uint64(1)


def _random_bytes(number: int) -> bytes:
    return xxhash.xxh3_64_digest(number.to_bytes(8, "little"))


@lru_cache(_SIZES_REMEMBERED)
def _powers(count: int) -> tuple[_Numbers, _Numbers]:
    """The first powers of the factor, and of its inverse."""
    factors = np.full((2, count), _FACTOR, np.uint64)
    factors[1] = pow(_FACTOR, -1, _MASK + 1)
    rising, falling = np.cumprod(factors, axis=1)
    return rising, falling
