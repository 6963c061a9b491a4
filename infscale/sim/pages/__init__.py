"""Metrics pages of simulated model servers and GPUs, under the names of several engines.

Reading such pages belongs to `infscale.metrics.pages`.
"""
