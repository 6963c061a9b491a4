"""One ext_proc stream: its messages, their bytes, and the state machine that answers them; pure code.

Sockets, tasks and gRPC belong to `picker.transport`; which endpoint is chosen is decided in `picker.directing`.
"""
