"""The doctor: what autoscalers of a cluster ask, what they will do, and what is wrong with their set-up.

`view` is what was seen of a cluster, `reading` asks its API server and reads JSON into that, `rules` find faults in it;
modules beside these make a diagnosis and its forms. Nothing here changes a cluster. Arguments and exit codes are in
`infscale.cli`, the controller's arithmetic is in `infscale.planner`.
"""
