"""Transports that carry the exchange to Envoy: the interface, limits, budgets and health that both servers share."""
