"""Requests as they are recorded, to be played again in simulation: the form of the file."""
