"""Other sources of the store: how they are set and run, and each kind."""
