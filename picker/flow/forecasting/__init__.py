"""How long requests will wait: what drains a queue, and when more endpoints are ready."""
