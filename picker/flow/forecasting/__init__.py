"""What is known ahead of time of a queue: its pace, and when endpoints that start are ready."""
