"""``infscale simulate`` and ``infscale plan``: arguments and output. What is simulated is in `infscale.simulate`."""
