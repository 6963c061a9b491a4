"""Which requests in flight are taken back for those that wait, and what endpoints lack to take these."""
