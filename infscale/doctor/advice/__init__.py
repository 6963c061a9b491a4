"""How a pool should be scaled for what is wanted of it, with a reason for each number; pure code.

What is wrong with a set-up that is there is in `infscale.doctor.rules`.
"""
