"""What a placement costs in seconds: how fast endpoints compute, and when they will have computed what they have."""
