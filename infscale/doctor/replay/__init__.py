"""The time machine of HPAs: what the controller would have done in the past, sync by sync; pure code.

What was seen (`past_syncs`) is read from a file or from a Prometheus, the arithmetic is that of `infscale.planner`, and
the outcome is written as a table, JSON or a plot. What asks a cluster is not here.
"""
