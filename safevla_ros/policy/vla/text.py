"""Words to numbers: a vocabulary that is fixed when a policy is made, and kept in its file.

Instructions are short and speak of few things. A policy of a few MB has no room for a language
model, so it learns its words with its task. A word that it has never seen is taken for the one word
of the vocabulary from which it is a slip of the fingers away, and becomes UNKNOWN where there is no such
word, or more than one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

PADDING = 0
"""Token of places after the last word."""
UNKNOWN = 1
"""Token of a word that is not in the vocabulary."""
FIRST_WORD = 2
"""Token of the first word of the vocabulary."""
SHORTEST_SLIP = 4
"""Letters of the shortest word that a slip is taken for: `pat` could be anything."""

_WORD = re.compile(r"[a-z0-9]+")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def vocabulary_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Every word of the texts once, in alphabetical order."""
    return tuple(sorted({word for text in texts for word in words_of(text)}))


class Tokenizer:
    """Encodes texts as `length` tokens. `vocabulary`: words in the order of their tokens."""

    def __init__(self, vocabulary: Sequence[str], length: int) -> None:
        self._tokens = {word: FIRST_WORD + i for i, word in enumerate(vocabulary)}
        self._length = length

    def encode(self, text: str) -> NDArray[np.int64]:
        """(length,) tokens, padded with PADDING; words beyond `length` are left out."""
        tokens = [self._token(word) for word in words_of(text)[: self._length]]
        row = np.full(self._length, PADDING, np.int64)
        row[: len(tokens)] = tokens
        return row

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that become UNKNOWN."""
        return [word for word in words_of(text) if self._token(word) == UNKNOWN]

    def _token(self, word: str) -> int:
        if word in self._tokens:
            return self._tokens[word]
        meant = [
            token
            for known, token in self._tokens.items()
            if len(known) >= SHORTEST_SLIP and is_slip(word, known)
        ]
        return meant[0] if len(meant) == 1 else UNKNOWN


def is_slip(word: str, meant: str) -> bool:
    """Whether one slip makes `word` of `meant`: a letter too many, one missing, one wrong, or two
    neighbours swapped."""
    if abs(len(word) - len(meant)) > 1:
        return False
    same = next((i for i, (a, b) in enumerate(zip(word, meant, strict=False)) if a != b), None)
    if same is None:
        return len(word) != len(meant)
    left, right = word[same:], meant[same:]
    return (
        left[1:] == right
        or left == right[1:]
        or left[1:] == right[1:]
        or (left[1:2] + left[:1] == right[:2] and left[2:] == right[2:])
    )
