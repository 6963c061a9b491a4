"""`infscale demo` and its scenarios."""
