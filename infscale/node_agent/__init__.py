"""The node agent: what one node's GPUs do, read from NVIDIA's library, for which pods, and the page that says so."""
