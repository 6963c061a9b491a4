"""What happened over a window: its values, PromQL's functions of it, and statistics of latencies.

Snapshots are made of these; who reads them is in `infscale.metrics.published`.
"""
