"""Plugin types the reference picker has and this one does not.

Errors name them as such, so that they are not taken for typing mistakes.
"""

REFERENCE_ONLY = frozenset(
    {
        "always-disagg-multimodal-decider",
        "always-disagg-pd-decider",
        "data-parallel-profile-handler",
        "disagg-headers-handler",
        "disagg-profile-handler",
        "p2p-source-producer",
        "pd-profile-handler",
        "precise-prefix-cache-producer",
        "precise-prefix-cache-scorer",
        "prefill-header-handler",
        "prefix-based-pd-decider",
        "tokenizer",
        "topology-affinity-filter",
        "topology-affinity-scorer",
        "topology-extractor",
    }
)
