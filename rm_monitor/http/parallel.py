"""Several requests at once, never more than agreed, answers in the order of the questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, as_completed, wait
from typing import TypeVar

__all__ = ["in_order"]

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


def in_order(
    ask: Callable[[Asked], Answer],
    questions: Sequence[Asked],
    *,
    concurrency: int,
    done: Callable[[int], None] | None = None,
) -> list[Answer]:
    """``[ask(q) for q in questions]`` with up to ``concurrency`` calls at a time.

    Args:
        ask: Called in threads of its own.
        questions: What to ask.
        concurrency: At least 1.
        done: Told how many are answered, in the caller's thread.

    Raises:
        Exception: The first failure, in order of the questions; what has not begun by then is not asked.

    Example:
        >>> in_order(lambda x: x * x, [3, 1, 2], concurrency=2)
        [9, 1, 4]
    """
    if not questions:
        return []
    with ThreadPoolExecutor(min(concurrency, len(questions)), thread_name_prefix="rm_monitor") as pool:
        futures = [pool.submit(ask, question) for question in questions]
        try:
            if done is not None:
                for number, future in enumerate(as_completed(futures), 1):
                    if future.exception() is not None:
                        break
                    done(number)
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        failed = [f for f in futures if not f.cancelled() and f.exception() is not None]
        return [future.result() for future in (failed or futures)]
