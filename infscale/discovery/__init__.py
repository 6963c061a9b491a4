"""Where endpoints and inference objects come from: what every source gives, and the source that is a file.

The source that is a cluster is in `infscale.kube`. Every source has an iterator `states`: whole states, the first at
once and another whenever something changed, without equal neighbours, until it is closed. Only the first step may raise
`ConfigError`: a source that has given a state keeps it when what follows is unusable.
"""
