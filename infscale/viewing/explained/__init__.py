"""The explanation of one pick, read from its document and as sections of its page."""
