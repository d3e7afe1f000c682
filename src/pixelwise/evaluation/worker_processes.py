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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from queue import SimpleQueue
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")

_STARTING = threading.Lock()


class _Worker(SpawnProcess):
    """A process that is started without the main script and ignores Ctrl-C."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  the name is Python's
        with _STARTING, _without_main_script(), _without_interrupts(), _without_current_folder():
            return SpawnProcess._Popen(process_obj)


class WorkerPool:
    """Calls functions in worker processes, each of which has its own pipe.

    In a :class:`~concurrent.futures.ProcessPoolExecutor`, all workers write to one pipe. If a
    worker is killed while it writes a result, the reader waits forever for the rest. Here the
    reader finds the end of the pipe, because nobody else can write to it.
    """

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        for connection in connections:
            self._idle.put(connection)
        self._threads = ThreadPoolExecutor(len(connections), "worker")  # each waits for one worker

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Call a function in the next idle worker.

        Args:
            function: A module-level function.
            args: Its arguments; they and the result are pickled.

        Returns:
            The future result. It raises :exc:`~concurrent.futures.process.BrokenProcessPool` if
            the worker has died.
        """
        return self._threads.submit(self._call, function, args)

    def shutdown(self) -> None:
        """Cancel what has not begun and wait for the rest."""
        self._threads.shutdown(cancel_futures=True)

    def _call(self, function: Callable[..., T], args: tuple[Any, ...]) -> T:
        connection = self._idle.get()
        try:
            connection.send((function, args))
            result, error = connection.recv()
        except (EOFError, OSError) as ended:
            raise BrokenProcessPool("a worker process has died") from ended
        finally:
            self._idle.put(connection)
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]


@contextmanager
def worker_processes(
    count: int, begin: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[WorkerPool]:
    """Yield a pool of worker processes.

    The workers end with the context, immediately if it is left by an error such as Ctrl-C. If
    this process is killed, they end after the call they are in.

    Args:
        count: Number of workers.
        begin: Initializer called in each worker; a module-level function.
        arguments: Arguments of ``begin``.

    Raises:
        OSError: The system cannot start more processes.
    """
    workers: list[_Worker] = []
    connections: list[Connection] = []
    pool = None
    try:
        for _ in range(count):
            ours, theirs = SpawnContext().Pipe()
            connections.append(ours)
            with theirs:
                worker = _Worker(target=_serve, args=(theirs, begin, arguments), daemon=True)
                worker.start()
            workers.append(worker)
        pool = WorkerPool(connections)
        yield pool
    except BaseException:
        for worker in workers:
            worker.terminate()
        raise
    finally:
        if pool is not None:
            pool.shutdown()
        for connection in connections:
            connection.close()  # which ends the worker
        for worker in workers:
            worker.join()


def may_start_processes() -> bool:
    """Whether this process may start children; a daemon of :mod:`multiprocessing` may not."""
    return not multiprocessing.current_process().daemon


def _serve(connection: Connection, begin: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Call functions in a worker until the parent process closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends it
    begin(*arguments)
    while True:
        try:
            function, args = connection.recv()
        except (EOFError, OSError):
            return
        result = error = None
        try:
            result = function(*args)
        except Exception as raised:  # raised again in the parent process
            error = raised
        try:
            connection.send((result, error))
        except OSError:
            return


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


@contextmanager
def _without_current_folder() -> Iterator[None]:
    """Let no process started inside the context import modules from the current folder.

    A data set that somebody sent could hold a file ``multiprocessing.py``.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
