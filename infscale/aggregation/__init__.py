"""Which parts of which pools make a value, and how the parts become one.

It reads snapshots. How a value of one pool is read from its endpoints belongs to `infscale.metrics.published`, what it
is called in an API to the `adapter`.
"""
