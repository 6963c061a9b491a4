"""From a request to a destination: candidates, admission, rewriting, and the accounting of requests in flight.

Stages of scheduling belong to `picker.scheduling`, messages of the gateway to `picker.ext_proc`.
"""
