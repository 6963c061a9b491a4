"""Kubernetes: the client, the watches, and discovery from what they see."""
