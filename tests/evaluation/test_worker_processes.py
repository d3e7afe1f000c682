"""A pool of worker processes returns results and errors, and outlives the death of a worker."""

import multiprocessing
import os
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

import pytest

from pixelwise.evaluation.worker_processes import worker_processes


def begin():
    pass


def square(number):
    return number**2


def fail(message):
    raise LookupError(message)


def die():
    os._exit(1)


def die_while_writing():
    def half(self, _):
        os.write(self.fileno(), b"\0\0\1\0half")  # a header for 256 bytes, and four of them
        os._exit(1)

    Connection._send_bytes = half


def test_results_and_errors_come_back():
    with worker_processes(2, begin, ()) as pool:
        results = [pool.submit(square, number) for number in range(20)]
        failure = pool.submit(fail, "which one")
        assert [result.result(60) for result in results] == [number**2 for number in range(20)]
        with pytest.raises(LookupError, match="which one"):
            failure.result(60)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("death", [die, die_while_writing])
def test_a_dead_worker_is_an_error_instead_of_a_hang(death):
    with worker_processes(2, begin, ()) as pool, pytest.raises(BrokenProcessPool):
        pool.submit(death).result(60)
    assert not multiprocessing.active_children()
