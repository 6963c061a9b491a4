"""What a misspelt word was probably meant to be, and which words there are, in as few words as help."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

_SHOWN = 10
_NEAREST = 2
_LONGEST = 80
_ALIKE = 0.6


def nearest(word: str, options: Iterable[str]) -> tuple[str, ...]:
    """The options that `word` is probably a misspelling of, most alike first; none for a word too long to be one."""
    if len(word) > _LONGEST:
        return ()
    by_form: dict[str, str] = {}
    for option in options:
        by_form.setdefault(_form(option), option)
    found = get_close_matches(_form(word), by_form, _NEAREST, _ALIKE)
    # Where one is much nearer than the rest, it alone is meant.
    return tuple(by_form[each] for each in found if _alike(_form(word), each) > _alike(_form(word), found[0]) - 0.1)


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """``; did you mean a or b?``, or nothing where no option is near."""
    found = nearest(word, options)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def short_list(options: Iterable[str], word: str = "") -> str:
    """The options; of many some, those most like `word` first where it is like any."""
    known = list(dict.fromkeys(options))
    if len(known) <= _SHOWN:
        return ", ".join(known)
    alike = bool(nearest(word, known))
    ordered = sorted(known, key=lambda each: -_alike(_form(word), _form(each))) if alike else known
    return f"{', '.join(ordered[:_SHOWN])} … ({len(known)} in all)"


def _alike(word: str, other: str) -> float:
    return SequenceMatcher(None, word, other, autojunk=False).ratio()


def _form(word: str) -> str:
    """What is compared: case and the marks between words are what is mixed up most."""
    return word.lower().replace("-", "").replace("_", "")
