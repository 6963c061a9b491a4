"""The demo: its plan, its phases, its child processes, and how results are shown.

Simulated servers and load are in `infscale.sim`; the command itself is in `infscale.cli`.
"""
