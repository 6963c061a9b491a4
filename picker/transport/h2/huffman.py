"""The Huffman code of header strings (RFC 7541, appendix B)."""

from typing import Final

from picker.transport.h2.errors import ConnectionFault, ErrorCode

# The code is canonical, so the lengths of its 257 words say all of it: a letter each, `a` for 5 bits up to `z` for 30.
_LENGTHS: Final = (
    "isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhf"
    "ibccccccccccccccccccccccdcdioijbkabababbbaccbbbabcbaabccccckgjix"
    "prpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrs"
    "vvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwvz"
)
_END_OF_STRING: Final = 256
_SHORTEST: Final = 5
_LONGEST_PADDING_BITS: Final = 7


def _codes() -> dict[tuple[int, int], int]:
    """Symbols by length and code word."""
    words = sorted((ord(letter) - ord("a") + _SHORTEST, symbol) for symbol, letter in enumerate(_LENGTHS))
    found: dict[tuple[int, int], int] = {}
    code, before = 0, 0
    for length, symbol in words:
        code <<= length - before
        found[length, code] = symbol
        code, before = code + 1, length
    return found


class _Node:
    """A place in the code tree: `depth` bits were read, all ones so far or not."""

    __slots__ = ("depth", "next", "ones", "symbol")

    def __init__(self, depth: int, *, ones: bool) -> None:
        self.depth = depth
        self.ones = ones
        self.next: list[_Node | None] = [None, None]
        self.symbol: int | None = None


def _tree() -> _Node:
    root = _Node(0, ones=True)
    for (length, code), symbol in _codes().items():
        node = root
        for place in range(length - 1, -1, -1):
            bit = code >> place & 1
            following = node.next[bit]
            if following is None:
                following = node.next[bit] = _Node(node.depth + 1, ones=node.ones and bit == 1)
            node = following
        node.symbol = symbol
    return root


# What four bits do at each inner place of the tree: where they lead, the symbols they end (the code's shortest word has
# five bits, so there is at most one), and whether they end the string's own mark, which no string may hold.
_Step = tuple[int, int | None, bool]


def _table() -> tuple[list[list[_Step]], list[bool]]:
    root = _tree()
    places = [root]
    index = {id(root): 0}
    table: list[list[_Step]] = []
    while len(table) < len(places):
        start = places[len(table)]
        steps: list[_Step] = []
        for bits in range(16):
            node, symbol, marked = start, None, False
            for place in (3, 2, 1, 0):
                following = node.next[bits >> place & 1]
                if following is None:
                    marked = True
                    break
                node = following
                if node.symbol is not None:
                    marked = marked or node.symbol == _END_OF_STRING
                    symbol, node = node.symbol, root
            if id(node) not in index:
                index[id(node)] = len(places)
                places.append(node)
            steps.append((index[id(node)], symbol, marked))
        table.append(steps)
    may_end = [place.ones and place.depth <= _LONGEST_PADDING_BITS for place in places]
    return table, may_end


_TABLE, _MAY_END = _table()


def decoded(data: bytes) -> bytes:
    """The string that `data` encodes. Raises `ConnectionFault` where it encodes none."""
    out = bytearray()
    state = 0
    table = _TABLE
    for byte in data:
        for bits in (byte >> 4, byte & 15):
            state, symbol, marked = table[state][bits]
            if marked:
                raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "a Huffman string holds its end mark")
            if symbol is not None:
                out.append(symbol)
    if not _MAY_END[state]:
        raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "a Huffman string is not padded by ones")
    return bytes(out)
