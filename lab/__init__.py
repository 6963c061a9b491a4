"""A Kubernetes cluster on this machine, real but for the kubelet, for people and for the tests marked `cluster`."""
