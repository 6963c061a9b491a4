"""One simulated engine: batching, KV cache, speed, and what it counts.

Its HTTP paths are in `infscale.sim.http`, its metrics pages in `infscale.sim.pages`.
"""
