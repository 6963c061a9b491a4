"""A metrics page whose count of tokens moves, because a page that stands still is taken for frozen."""

import re
from urllib.parse import parse_qs

from bench.pools import vllm_page

_TOKENS = re.compile(rb"\nvllm:generation_tokens_total\{[^}]*\} (\S+)")
_DIGITS = 12
_MOST_QUERIES = 64


class MovingPage:
    """A vLLM page; of one that is asked for by ``name[]`` only these samples, as vLLM answers.

    Where it is `whole`, ``name[]`` changes nothing, as with an engine of several processes.
    """

    def __init__(self, whole: bool = False) -> None:
        self._whole = whole
        # By the query the page in its parts around the number that moves.
        self._parts: dict[str, tuple[bytes, bytes]] = {}
        self.served = 0

    def next(self, query: str = "") -> tuple[bytes, bytes, bytes]:
        """The page that a request with `query` gets, in three parts."""
        parts = self._parts.get(query)
        if parts is None:
            if len(self._parts) >= _MOST_QUERIES:
                self._parts.clear()
            parts = self._parts[query] = _around_tokens(self._asked(query))
        self.served += 1
        return parts[0], b"%0*d" % (_DIGITS, self.served), parts[1]

    def _asked(self, query: str) -> bytes:
        return vllm_page(names=() if self._whole else parse_qs(query).get("name[]", ()))


def _around_tokens(page: bytes) -> tuple[bytes, bytes]:
    found = _TOKENS.search(page)
    if found is None:
        raise ValueError("the page has no count of tokens, so that it cannot move")
    return page[: found.start(1)], page[found.end(1) :]
