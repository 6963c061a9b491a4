"""What can be wrong with a set-up: each fault a pure function over a `ClusterView`, one row of `rule_table`.

A rule says nothing where it cannot know: the kinds that it needs to have been listed are in its row.
"""
