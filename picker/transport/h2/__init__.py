"""HTTP/2 for one gRPC method: bytes in, events out, without input or output of its own (RFC 9113, RFC 7541)."""
