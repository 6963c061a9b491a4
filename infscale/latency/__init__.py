"""How long an engine's steps take, and what follows from it; pure: numbers in, numbers out.

`infscale.latency.step_model` has the model, `infscale.latency.predictions` what it predicts, and
`infscale.latency.online_fit` what an engine's own page teaches; the store owns one fit per endpoint.
"""
