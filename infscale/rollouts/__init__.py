"""Rollouts: steps from an old version to a new one, the test that may end them, and which version a session has.

Pure: what tells it of time, of endpoints and of requests is `infscale.serving` and the picker.
"""
