"""Commands that ask a running `infscale serve`: the bill, and how far rollouts are."""
