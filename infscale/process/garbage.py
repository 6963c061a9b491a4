"""Memory of processes that answer others for a long time."""

import contextlib
import ctypes
import gc
from typing import Final

# glibc's names of what `mallopt` sets, and from which size on a block is a mapping of its own or memory is given back.
_TRIM_THRESHOLD: Final = (-1, 4 << 20)
_MMAP_THRESHOLD: Final = (-3, 1 << 20)


def spare_collections() -> None:
    """Take what has been built out of the garbage collector's rounds, and have short ones of what is new.

    It lives as long as the process; snapshots, exchanges and samples are freed by reference counts. A round takes about
    0.2 µs for each object in it: up to 5,000 in those of young objects, which come with every 2,500 that are more than
    were. A round of all is for what a cycle keeps after that, and comes with 100 million.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_500, 1, 20_000)


def give_memory_back() -> None:
    """Have the C library give large blocks back to the system when they are freed (glibc; elsewhere it does nothing).

    Left alone it raises the size from which it does so to that of the largest block it has seen: after one body of
    30 MB the next ones stay with the process.
    """
    with contextlib.suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        for option, value in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            set_option(option, value)


def return_free_memory() -> None:
    """Have the C library give back what lies free between blocks in use (glibc; elsewhere it does nothing).

    It takes some milliseconds where there is much.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
