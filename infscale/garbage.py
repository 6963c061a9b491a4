"""Garbage collection in processes that answer others for a long time."""

import gc


def spare_collections() -> None:
    """Take what has been built out of the garbage collector's rounds, and have fewer of them.

    It lives as long as the process; snapshots, exchanges and samples are freed by reference counts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
