"""The metrics APIs as documents: paths, forms, negotiation, discovery and OpenAPI; pure code.

Values of metrics belong to `adapter.answering`.
"""
