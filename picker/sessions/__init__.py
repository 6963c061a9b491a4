"""Sessions: requests that belong together, by what a client sends with them, and where they stay; pure code."""
