"""Simulated model servers, for tests and the demo: engines, metrics pages, HTTP and load."""
