"""The director that has requests wait until an endpoint can begin them."""
