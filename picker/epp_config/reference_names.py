"""Plugin types the reference picker has and this one does not.

Errors name them as such, so that they are not taken for typing mistakes.
"""

REFERENCE_ONLY = frozenset(
    {
        "data-parallel-profile-handler",
        "p2p-source-producer",
        "precise-prefix-cache-producer",
        "precise-prefix-cache-scorer",
        "tokenizer",
        "topology-affinity-filter",
        "topology-affinity-scorer",
        "topology-extractor",
    }
)
