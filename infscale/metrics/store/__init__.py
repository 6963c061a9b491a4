"""The writing side: what is kept of endpoints and of dispatched requests, and the snapshots made of it.

What is read from a snapshot belongs to `infscale.metrics.published`.
"""
