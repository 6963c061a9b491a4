"""What a program that runs for long needs of its process: log, memory, sockets, certificates of its own.

Metrics of the process are in `infscale.telemetry`.
"""
