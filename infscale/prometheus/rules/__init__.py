"""The rules of prometheus-adapter, read unchanged: discovery of series, names, templates of queries; pure code.

Asking servers by these belongs to `infscale.prometheus.evaluation`.
"""
