"""What the product lives in, in virtual time: the clock, the gateway, model servers, scrapes on their way.

How the product decides belongs to `picker`; what is simulated is said by `infscale.simulate.scenario`.
"""
