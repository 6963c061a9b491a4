"""A model server to stand in for a GPU."""
