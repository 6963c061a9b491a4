"""``infscale simulate``: its arguments and output. What is simulated, and how, is in `infscale.simulate`."""
