"""The adapter in its cluster: APIServices, the CA bundle they trust, and the serving certificate.

Certificates of clients belong to `adapter.access`.
"""
