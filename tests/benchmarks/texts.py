"""Texts of several languages, and tokenizers to count them.

The passages are from the Universal Declaration of Human Rights; the code is this Python's own
library. Prompts are put together from pieces of them.
"""

import argparse
import heapq
import random
import textwrap
from collections.abc import Callable
from pathlib import Path

__all__ = ["Counter", "Texts", "counter"]

Counter = Callable[[str], int]

_VOCABULARY = 8000
_TIKTOKEN = "tiktoken:"
_PASSAGES = {
    "english": """All human beings are born free and equal in dignity and rights. They are endowed
with reason and conscience and should act towards one another in a spirit of brotherhood. Everyone
has the right to life, liberty and security of person. No one shall be held in slavery or servitude;
slavery and the slave trade shall be prohibited in all their forms.""",
    "german": """Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit
Vernunft und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen. Jeder hat das
Recht auf Leben, Freiheit und Sicherheit der Person. Niemand darf in Sklaverei oder Leibeigenschaft
gehalten werden; Sklaverei und Sklavenhandel sind in allen ihren Formen verboten.""",
    "french": """Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont
doués de raison et de conscience et doivent agir les uns envers les autres dans un esprit de
fraternité. Tout individu a droit à la vie, à la liberté et à la sûreté de sa personne. Nul ne sera
tenu en esclavage ni en servitude.""",
    "russian": """Все люди рождаются свободными и равными в своем достоинстве и правах. Они
наделены разумом и совестью и должны поступать в отношении друг друга в духе братства. Каждый
человек имеет право на жизнь, на свободу и на личную неприкосновенность. Никто не должен
содержаться в рабстве или в подневольном состоянии.""",
    "chinese": """人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,
并应以兄弟关系的精神相对待。人人有权享有生命、自由和人身安全。任何人不得使为奴隶或奴役;
一切形式的奴隶制度和奴隶买卖,均应予以禁止。""",
}
_MODULES = (argparse, textwrap, heapq, random)


class Texts:
    """`kinds`: the languages, and `code`."""

    def __init__(self) -> None:
        self._pieces = {
            kind: list(text.replace("\n", ""))
            if kind == "chinese"
            else [f"{word} " for word in text.split()]
            for kind, text in _PASSAGES.items()
        }
        sources = [Path(module.__file__ or "").read_text() for module in _MODULES]
        self._pieces["code"] = "".join(sources).splitlines(keepends=True)
        self.kinds = tuple(self._pieces)

    def make(self, kind: str, size: int, rng: random.Random) -> str:
        """A text of about `size` bytes, of runs of pieces that follow each other."""
        pieces, text, made = self._pieces[kind], [], 0
        while made < size:
            first = rng.randrange(len(pieces))
            run = "".join(pieces[first : first + rng.randrange(3, 15)])
            text.append(run)
            made += len(run.encode())
        return "".join(text)


def counter(source: str, texts: Texts) -> Counter | None:
    """Counts the tokens of a text: `trained`, a `tokenizer.json`, or `tiktoken:ENCODING`.

    None for `trained` if `tokenizers` is not installed.
    """
    if source.startswith(_TIKTOKEN):
        import tiktoken

        encoding = tiktoken.get_encoding(source.removeprefix(_TIKTOKEN))
        return lambda text: len(encoding.encode_ordinary(text))
    try:
        import tokenizers
    except ImportError:
        return None
    if source != "trained":
        given = tokenizers.Tokenizer.from_file(source)
        return lambda text: len(given.encode(text, add_special_tokens=False).ids)
    rng = random.Random(3)
    trained = tokenizers.ByteLevelBPETokenizer()
    corpus = [texts.make(kind, 20_000, rng) for kind in texts.kinds]
    trained.train_from_iterator(corpus, vocab_size=_VOCABULARY, show_progress=False)
    return lambda text: len(trained.encode(text).ids)
