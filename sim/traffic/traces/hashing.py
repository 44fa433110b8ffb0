"""Names as 64-bit words, the same on every machine."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def text_word(text: str) -> int:
    """64 bits of a text."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def text_words(texts: NDArray[np.object_]) -> NDArray[np.uint64]:
    """64 bits of each text; each different one is hashed once."""
    words = {text: text_word(text) for text in set(texts.tolist())}
    return np.fromiter(map(words.__getitem__, texts.tolist()), np.uint64, len(texts))
