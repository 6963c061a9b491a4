"""The bill: whose requests took the GPU-seconds of a pool, what was idle, and what was wasted.

Every endpoint has an account (`endpoint_account`). Its time passes whether it works or not; while requests are in
flight there it works, and that time is divided among them by the latency model (`time_shares`). So what is billed, what
is idle and what was computed twice add up to the time of the pool, however wrong the model is: it decides about shares
alone.
"""
