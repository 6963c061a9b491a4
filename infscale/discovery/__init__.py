"""Where endpoints and inference objects come from."""
