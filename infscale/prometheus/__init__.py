"""Prometheus servers as a source: their answers, queries of ours, and the rules of prometheus-adapter.

What is asked on a socket is here and in threads of its own. How answers to an HPA are written belongs to the `adapter`,
infscale's own metrics for a Prometheus that scrapes it to `infscale.telemetry`.
"""
