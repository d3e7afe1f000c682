"""Worker processes that never run the caller's script and end with their parent process.

They are spawned, because forking a process with torch threads may hang. Python's own spawned
workers import the caller's main script, which would train again without an ``if __name__ ==
"__main__"`` guard; these workers do not, because all their functions are imported by name.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any

_STARTING = threading.Lock()


class _Worker(SpawnProcess):
    """A process that is started without the main script and ignores Ctrl-C."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  the name is Python's
        with _STARTING, _without_main_script(), _without_interrupts():
            return SpawnProcess._Popen(process_obj)


class _Workers(SpawnContext):
    """Starts workers and keeps a list of them."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[_Worker] = []

    def Process(self, *args: Any, **kwargs: Any) -> _Worker:  # type: ignore[override]  # noqa: N802
        """Return a worker that is not started yet."""
        self.started.append(_Worker(*args, **kwargs))
        return self.started[-1]


@contextmanager
def worker_processes(
    count: int, begin: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of worker processes.

    The workers end with the context, immediately if it is left by an error such as Ctrl-C.

    Args:
        count: Number of workers.
        begin: Initializer called in each worker; a module-level function.
        arguments: Arguments of ``begin``.

    Raises:
        OSError: The system cannot start more processes.
    """
    workers = _Workers()
    pool = ProcessPoolExecutor(
        count, mp_context=workers, initializer=_begin, initargs=(begin, arguments)
    )
    try:
        yield pool
    except BaseException:
        for worker in workers.started:
            if worker.pid is not None:
                worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def may_start_processes() -> bool:
    """Whether this process may start children; a daemon of :mod:`multiprocessing` may not."""
    return not multiprocessing.current_process().daemon


def num_cores() -> int:
    """Number of cores that this process may use, or of the machine if the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin(begin: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Initialize a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin(*arguments)


def _end_with_parent() -> None:
    """Exit when the parent has died; otherwise an orphaned worker would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _without_main_script() -> Iterator[None]:
    """Hide the main script, so that workers do not import it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block Ctrl-C, if the system supports it, in processes started inside the context.

    Ctrl-C is sent to all processes of a terminal, and a starting process would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
