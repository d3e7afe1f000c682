"""Worker processes that run no code of the caller's script and end with the process that uses them.

They are spawned, as a fork of a process in which torch has threads may hang. Python's own spawned
workers import the caller's main script, which trains again where it is not guarded by ``if __name__
== "__main__"``; these do not, as all that they run is imported by name.
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
    """A process that is started without the main script, and that Control-C does not reach."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  the name is Python's
        with _STARTING, _without_main_script(), _without_interrupts():
            return SpawnProcess._Popen(process_obj)


class _Workers(SpawnContext):
    """Starts workers and remembers them."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[_Worker] = []

    def Process(self, *args: Any, **kwargs: Any) -> _Worker:  # type: ignore[override]  # noqa: N802
        """A worker that is not yet started."""
        self.started.append(_Worker(*args, **kwargs))
        return self.started[-1]


@contextmanager
def worker_processes(
    count: int, begin: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[ProcessPoolExecutor]:
    """Some processes to give work to.

    They end with the context: at once where it is left by an error, as by Control-C.

    Args:
        count: How many.
        begin: Called in each of them before all else; a function of a module.
        arguments: Of ``begin``.

    Raises:
        OSError: The system allows no further processes.
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
    """Whether this process may have children: a daemon of :mod:`multiprocessing` may not."""
    return not multiprocessing.current_process().daemon


def num_cores() -> int:
    """Cores that this process may use, where the system says; else those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin(begin: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """The first that a worker does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that uses it ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin(*arguments)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _without_main_script() -> Iterator[None]:
    """Let Python find no main script that a worker would import."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block Control-C, where the system can, for processes that are started meanwhile.

    It reaches all processes of a terminal, and those that only just start would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
