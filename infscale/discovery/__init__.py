"""Where endpoints and inference objects come from: what every source gives, and the source that is a file.

The source that is a cluster is in `infscale.kube`.
"""
