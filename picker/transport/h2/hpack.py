"""Header blocks (RFC 7541): a decoder with a dynamic table, and the constant blocks that a gRPC server writes."""

from collections import deque
from typing import Final

from h2.errors import ErrorCodes
from hpack.hpack import encode_integer
from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE
from hpack.table import HeaderTable

from picker.transport.h2.errors import ConnectionFault

DEFAULT_TABLE_BYTES: Final = 4096
_ENTRY_OVERHEAD_BYTES: Final = 32
_MAX_INTEGER: Final = 1 << 28

Fields = tuple[tuple[bytes, bytes], ...]
"""Header fields in the order in which they came, pseudo-header fields included."""

STATIC: Final = HeaderTable.STATIC_TABLE
"""RFC 7541, appendix A; the first has index 1."""


def _fault(why: str) -> ConnectionFault:
    return ConnectionFault(ErrorCodes.COMPRESSION_ERROR, why)


class Decoder:
    """Decodes the header blocks of one connection, in order.

    The peer may use a dynamic table of `DEFAULT_TABLE_BYTES` until it has acknowledged that ours has none (`forbid`).
    From then on blocks carry no state. `max_list_bytes` bounds a decoded
    list, each field counted with 32 bytes more than its length (RFC 9113, section 6.5.2).
    """

    def __init__(self, max_list_bytes: int) -> None:
        self._max_list_bytes = max_list_bytes
        self._limit_bytes = DEFAULT_TABLE_BYTES
        self._size_limit_bytes = DEFAULT_TABLE_BYTES
        self._entries: deque[tuple[bytes, bytes]] = deque()
        self._held_bytes = 0

    def forbid(self) -> None:
        """The peer has acknowledged that there is no dynamic table from now on."""
        self._limit_bytes = 0
        self._resize(0)

    @property
    def has_table(self) -> bool:
        """Whether blocks may build on those before."""
        return self._limit_bytes > 0

    def decode(self, block: bytes) -> Fields:
        """The fields of a block. Raises `ConnectionFault`: what follows a block that cannot be read cannot either."""
        fields: list[tuple[bytes, bytes]] = []
        place, size, stop = 0, 0, len(block)
        while place < stop:
            first = block[place]
            if first & 0x80:
                index, place = _integer(block, place, 7)
                field = self._indexed(index)
            elif first & 0xE0 == 0x20:
                if fields:
                    raise _fault("a table size changes behind a field")
                wanted, place = _integer(block, place, 5)
                if wanted > self._limit_bytes:
                    raise _fault("a table is to be larger than allowed")
                self._resize(wanted)
                continue
            else:
                keeps = first & 0x40
                field, place = self._literal(block, place, 6 if keeps else 4)
                if keeps:
                    self._keep(field)
            fields.append(field)
            size += len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD_BYTES
            if size > self._max_list_bytes:
                raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, "a header list is larger than allowed")
        return tuple(fields)

    def _literal(self, block: bytes, place: int, bits: int) -> tuple[tuple[bytes, bytes], int]:
        index, place = _integer(block, place, bits)
        if index:
            name = self._indexed(index)[0]
        else:
            name, place = _string(block, place)
        value, place = _string(block, place)
        return (name, value), place

    def _indexed(self, index: int) -> tuple[bytes, bytes]:
        if 0 < index <= len(STATIC):
            return STATIC[index - 1]
        place = index - len(STATIC) - 1
        if not 0 <= place < len(self._entries):
            raise _fault("a field is named by an index that is not there")
        return self._entries[place]

    def _keep(self, field: tuple[bytes, bytes]) -> None:
        self._entries.appendleft(field)
        self._held_bytes += len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD_BYTES
        self._evict()

    def _resize(self, size_bytes: int) -> None:
        self._size_limit_bytes = size_bytes
        self._evict()

    def _evict(self) -> None:
        while self._held_bytes > self._size_limit_bytes:
            name, value = self._entries.pop()
            self._held_bytes -= len(name) + len(value) + _ENTRY_OVERHEAD_BYTES


def _integer(block: bytes, place: int, bits: int) -> tuple[int, int]:
    """A number whose first `bits` bits end the byte at `place`, and the place behind it (RFC 7541, section 5.1)."""
    mask = (1 << bits) - 1
    value = block[place] & mask
    place += 1
    if value < mask:
        return value, place
    shift = 0
    while True:
        if place >= len(block):
            raise _fault("a block ends within a number")
        byte = block[place]
        place += 1
        value += (byte & 0x7F) << shift
        if value > _MAX_INTEGER:
            raise _fault("a number is larger than any that has a use")
        if not byte & 0x80:
            return value, place
        shift += 7


def _string(block: bytes, place: int) -> tuple[bytes, int]:
    if place >= len(block):
        raise _fault("a block ends where a string should begin")
    huffman = block[place] & 0x80
    length, place = _integer(block, place, 7)
    stop = place + length
    if stop > len(block):
        raise _fault("a block ends within a string")
    text = block[place:stop]
    return huffman_decoded(text) if huffman else text, stop


def huffman_decoded(data: bytes) -> bytes:
    """The string that `data` encodes (RFC 7541, appendix B). Raises `ConnectionFault` where it encodes none."""
    out = bytearray()
    state, flags = 0, HUFFMAN_COMPLETE
    for byte in data:
        for bits in (byte >> 4, byte & 15):
            state, flags, symbol = HUFFMAN_TABLE[state << 4 | bits]
            if flags & HUFFMAN_FAIL:
                raise _fault("a Huffman string holds its end mark")
            if flags & HUFFMAN_EMIT_SYMBOL:
                out.append(symbol)
    if not flags & HUFFMAN_COMPLETE:
        raise _fault("a Huffman string is not padded by ones")
    return bytes(out)


def literal(name: bytes, value: bytes) -> bytes:
    """A field that is not kept, its name written out or taken from the static table."""
    if value and (name, value) in STATIC:
        return bytes((0x80 | STATIC.index((name, value)) + 1,))
    index = next((index for index, (known, _) in enumerate(STATIC, 1) if known == name), 0)
    written = b"" if index else encode_integer(len(name), 7) + name
    return bytes(encode_integer(index, 4) + written + encode_integer(len(value), 7) + value)
