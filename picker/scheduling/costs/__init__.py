"""What a placement costs in seconds: how fast each endpoint computes, and when it will have computed what it was sent."""
