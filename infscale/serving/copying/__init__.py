"""Sends copies of requests to candidates, and throws their answers away."""
