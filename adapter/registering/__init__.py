"""The adapter in its cluster: APIServices, the CA they believe, and the serving certificate.

Certificates of clients belong to `adapter.access`.
"""
