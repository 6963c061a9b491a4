"""The Huffman code of header strings (RFC 7541, appendix B), by the state table of python-hyper's `hpack`."""

from h2.errors import ErrorCodes
from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE

from picker.transport.h2.errors import ConnectionFault


def decoded(data: bytes) -> bytes:
    """The string that `data` encodes. Raises `ConnectionFault` where it encodes none."""
    out = bytearray()
    state, flags = 0, HUFFMAN_COMPLETE
    for byte in data:
        for bits in (byte >> 4, byte & 15):
            state, flags, symbol = HUFFMAN_TABLE[state << 4 | bits]
            if flags & HUFFMAN_FAIL:
                raise ConnectionFault(ErrorCodes.COMPRESSION_ERROR, "a Huffman string holds its end mark")
            if flags & HUFFMAN_EMIT_SYMBOL:
                out.append(symbol)
    if not flags & HUFFMAN_COMPLETE:
        raise ConnectionFault(ErrorCodes.COMPRESSION_ERROR, "a Huffman string is not padded by ones")
    return bytes(out)
