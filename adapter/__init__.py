"""The aggregated Kubernetes API server that publishes stored signals as custom and external metrics."""
