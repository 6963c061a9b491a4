"""Protobuf messages of KEDA's external scalers, generated from the `.proto` file beside them (`make proto`).

Nothing else belongs here; what triggers mean is in `infscale.keda`.
"""
