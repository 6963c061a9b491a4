"""What the picker counts, as Prometheus metrics: its own, and those under the reference picker's names.

Nothing here decides; figures of other packages are read when they are asked for.
"""
