"""What happened over a window: its values, quantiles as PromQL has them, and statistics of latencies.

Snapshots are made of these; their readers are in `infscale.metrics.published`.
"""
