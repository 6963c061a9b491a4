"""The API server: access, credentials, resource paths, objects as JSON and watches as events.

What the objects mean for discovery belongs to `infscale.kube`.
"""
