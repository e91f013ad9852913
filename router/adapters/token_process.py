"""What runs in the tokenizers' process; it imports nothing of the router, to be small."""

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait

__all__ = ["begin", "count_tokens"]

_TIKTOKEN = "tiktoken:"


def begin() -> None:
    """In the process: its end is that of the router, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(0)


def count_tokens(source: str, texts: Sequence[str]) -> int:
    return _counter(source)(texts)


@functools.cache
def _counter(source: str) -> Callable[[Sequence[str]], int]:
    if source.startswith(_TIKTOKEN):
        import tiktoken

        encoding = tiktoken.get_encoding(source.removeprefix(_TIKTOKEN))
        return lambda texts: sum(len(encoding.encode_ordinary(text)) for text in texts)
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(source)
    return lambda texts: sum(len(tokenizer.encode(t, add_special_tokens=False)) for t in texts)
