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
        "edf-ordering-policy",
        "fcfs-ordering-policy",
        "global-strict-fairness-policy",
        "p2p-source-producer",
        "pd-profile-handler",
        "precise-prefix-cache-producer",
        "precise-prefix-cache-scorer",
        "prefill-header-handler",
        "prefix-based-pd-decider",
        "priority-holdback-policy",
        "priority-then-time-eviction-order-policy",
        "program-aware-fairness",
        "round-robin-fairness-policy",
        "sheddable-eviction-filter",
        "slo-deadline-ordering-policy",
        "soft-reflective-ceiling-policy",
        "static-usage-limit-policy",
        "tokenizer",
        "topology-affinity-filter",
        "topology-affinity-scorer",
        "topology-extractor",
    }
)
