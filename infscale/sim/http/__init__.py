"""Simulated model servers on sockets: completion APIs, replicas, listeners.

How fast an engine answers is decided in `infscale.sim.engine`.
"""
