"""Copies of requests for a candidate: which are made, where they go, what is counted of them. Nothing is sent here."""
