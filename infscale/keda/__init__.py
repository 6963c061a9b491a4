"""The external scaler that KEDA asks: what the metadata of a trigger means, what it is answered, and the gRPC server.

It reads snapshots of the store, as the adapter does for HPAs; how the parts of pools make a value belongs to
`infscale.aggregation`. KEDA's messages are in `infscale.keda.proto`.
"""
