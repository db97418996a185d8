"""Work on many items in several threads, with results in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int) -> Iterator[Result]:
    """Yield the results, as soon as those before them are there; take at most `ahead` items in advance.

    Where nobody asks for further results, what has begun is finished and nothing else is begun.
    """
    waiting: deque[Future[Result]] = deque()
    remaining = iter(items)
    with ThreadPoolExecutor(threads) as workers:
        try:
            while True:
                waiting.extend(workers.submit(work, item) for item in islice(remaining, ahead - len(waiting)))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            workers.shutdown(wait=True, cancel_futures=True)
