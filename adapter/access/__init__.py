"""Identity and rights of callers: authentication, authorization, and the authorities that a cluster trusts.

The adapter's own certificates belong to `adapter.registering`.
"""
