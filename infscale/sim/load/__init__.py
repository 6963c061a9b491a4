"""Load for model servers: workloads as streams of requests for virtual time, and the generator that sends them.

What the demo makes of the answers is in `infscale.demo`.
"""
