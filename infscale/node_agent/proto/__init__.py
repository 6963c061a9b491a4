"""Protobuf messages of the kubelet's pod-resources API, generated from the `.proto` file beside them (`make proto`)."""
