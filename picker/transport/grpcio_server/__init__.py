"""ext_proc over grpcio's asyncio server.

Only this package imports grpc.
"""
