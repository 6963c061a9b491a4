"""Text by key: the same key is the same text, made again whenever it is asked for, so that no text has to be kept."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

BYTES_PER_TOKEN: Final = 4

_VOCABULARY = (
    "about above after again batch below block bring build cache carry clear close cover cycle delay drain early "
    "every field first floor frame given graph group guard heavy inner input joint known layer learn least level "
    "light limit local lower match merge minor model month never night order other outer paper phase pitch place "
    "plain point power press prior proof queue quick quiet range ratio reach ready right river rough round route "
    "scale scene score serve shape share sheet short since slack small solve space spare speed split stack stage "
    "start state steel still store table thank their there these thick think three token trace trust until upper "
    "usual value watch water weigh whole"
)
_WORDS: Final = _VOCABULARY.split()
_CORPUS_WORDS: Final = 1 << 15
_KEY_BITS: Final = 60
_KEY_MASK: Final = (1 << _KEY_BITS) - 1
# An odd factor makes the multiplication a permutation: keys that differ a little begin with different letters.
_FACTOR: Final = 0x9E3779B97F4A7C15


class Texts:
    """English-like ASCII text of any length, four bytes a token.

    A text begins with its key, scrambled, and goes on somewhere in a corpus that `rng` makes once. Texts of different
    keys differ within their first 16 bytes, also between two `Texts`; a shorter text of a key is the beginning of a
    longer one.
    """

    __slots__ = ("_corpus", "_salt", "_twice")

    def __init__(self, rng: "Random") -> None:
        self._salt = rng.getrandbits(_KEY_BITS)
        self._corpus = f"{' '.join(rng.choices(_WORDS, k=_CORPUS_WORDS))} ".encode()
        self._twice = self._corpus * 2

    def text(self, key: int, tokens: int) -> bytes:
        """The first `tokens` tokens of the text that `key`, within 0 and 2^60, stands for."""
        scrambled = ((key * _FACTOR) & _KEY_MASK) ^ self._salt
        size = tokens * BYTES_PER_TOKEN
        corpus = self._corpus
        start = scrambled % len(corpus)
        text = b"%015x " % scrambled + self._twice[start : start + size]
        while len(text) < size:
            text += self._twice[start : start + size]
        return text[:size]
