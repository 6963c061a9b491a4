"""The product in virtual time: simulated engines, traffic, and the store and director that serve, on one clock.

How fast an engine answers is decided in `infscale.sim.engine`, what is asked in `infscale.sim.load`, where it goes in
`picker`. Here they meet: events, delays, faults, replicas that come and go, and what came of it.
"""
