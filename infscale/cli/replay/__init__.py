"""``infscale doctor replay``: its arguments and output. What a replay is, is in `infscale.doctor.replay`."""
