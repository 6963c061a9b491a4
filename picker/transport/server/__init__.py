"""ext_proc over the picker's own HTTP/2 server: listeners, connections and the calls on them.

The protocol without input and output is in `picker.transport.h2`; what grpcio shares is in `picker.transport`.
"""
