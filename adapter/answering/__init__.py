"""Answers to metric requests: which values, of which objects, and the words of refusals.

Leave to ask is given in `adapter.access`; bytes on sockets belong to `adapter.server`.
"""
