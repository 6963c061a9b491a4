"""Flow control: requests that wait in the picker until an endpoint can begin them, and in which order they leave.

Pure code; the director that holds requests is `picker.directing.holding.flow_director`. What a placement costs belongs
to `picker.scheduling.costs`.
"""
