"""What is random of a load: lengths, arrivals, and which of several is asked for."""
