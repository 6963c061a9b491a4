"""Bytes that come in pieces, cut into what they are: lines, or messages with their length in front.

What belongs here knows neither sockets nor what the lines and messages say.
"""
