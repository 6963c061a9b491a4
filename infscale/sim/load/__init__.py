"""Load for model servers: traces, a built-in workload, and the generator that sends it.

What the demo makes of the answers is in `infscale.demo`.
"""
