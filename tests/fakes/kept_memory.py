"""How much memory is kept while nothing collects cycles, as processes that serve do seldom."""

import gc
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def without_collections() -> Generator[Callable[[], int]]:
    """No garbage collection within the block; gives what says how many bytes were allocated in it and are kept."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()
