"""Another pool or model for a request that its own cannot serve, or not in time."""
