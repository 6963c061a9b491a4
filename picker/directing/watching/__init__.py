"""Directors that pass on to another and keep what it decided: how long it took, and recordings of requests."""
