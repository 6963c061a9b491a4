"""Queries as boards ask them: aggregated over replicas of infscale, and within what the reader of a board chose.

Replicas that follow the same cluster see the same gauges: the highest counts. What each counts itself is summed.
Nothing replaces an unknown value: where there is no sample, there is a gap.
"""

POOL = 'pool=~"$pool"'
MODEL = f'{POOL},model=~"$model",model!=""'
ENDPOINT = f'{POOL},endpoint=~"$endpoint"'
POOL_OR_NONE = 'pool=~"$pool|"'
"""Also requests for an unknown pool."""


def highest(metric: str, where: str, *by: str) -> str:
    """The highest value of replicas, by labels."""
    return f"max by ({', '.join(by)}) ({metric}{{{where}}})"


def whole(metric: str, where: str = POOL) -> str:
    """The sum over a pool's models, of a metric that has a series for each; the highest of replicas."""
    return f"max by (pool) (sum by (pool, instance) ({metric}{{{where}}}))"


def total(metric: str, where: str, *by: str) -> str:
    """The sum over replicas, by labels."""
    return f"sum by ({', '.join(by)}) ({metric}{{{where}}})"


def rate(counter: str, where: str, *by: str) -> str:
    """How much a counter grows in a second, summed over replicas, by labels."""
    return f"sum by ({', '.join(by)}) (rate({counter}{{{where}}}[$__rate_interval]))"


def quantile(q: float, histogram: str, where: str = "", *by: str) -> str:
    """A quantile of what a histogram counted lately, by labels."""
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', where, 'le', *by)})"
