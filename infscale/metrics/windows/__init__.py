"""What happened over a window: its values, PromQL's functions of it, and statistics of latencies.

Snapshots are made of these; their readers are in `infscale.metrics.published`.
"""
