"""The adapter as a running server: sockets, connections, HTTP, counts.

What is answered is decided in `adapter.answering` and `adapter.access`.
"""
