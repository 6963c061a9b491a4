"""``infscale explain`` and ``infscale replay``: arguments, where recorded decisions come from, and output."""
