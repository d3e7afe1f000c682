"""Batches are as large as an accelerator's measured memory allows, and no larger."""

from pixelwise.prediction.batch_pixels import MAX_ACCELERATOR_PIXELS, BatchPixels

SMALLEST = 2**18


class FakeMemory:
    """A device on which a batch takes some bytes, and this many are free."""

    def __init__(self, taken, free):
        self.taken, self.left = taken, free
        self.num_measured = 0

    def begin(self):
        self.num_measured += 1
        return 1000

    def peak(self):
        return 1000 + self.taken

    def free(self):
        return self.left


def limit_after(pixels, memory):
    sizes = BatchPixels(memory)
    assert sizes.limit(SMALLEST) == SMALLEST
    for _ in range(3):
        with sizes.measured(pixels):
            pass
    return sizes.limit(SMALLEST)


def test_a_processor_computes_the_batches_it_always_did():
    assert limit_after(SMALLEST, None) == SMALLEST
    assert BatchPixels(None).has_room_for(2**60)


def test_a_batch_takes_at_most_half_of_the_free_memory():
    memory = FakeMemory(taken=1000 * SMALLEST, free=2 * 3 * 1000 * SMALLEST)
    assert limit_after(SMALLEST, memory) == 2 * SMALLEST  # 3 would fit: a power of two
    assert memory.num_measured == 1


def test_a_small_device_still_computes_the_smallest_batch():
    assert limit_after(SMALLEST, FakeMemory(taken=10**9, free=10**6)) == SMALLEST


def test_a_large_device_computes_no_endless_batches():
    assert limit_after(SMALLEST, FakeMemory(taken=10**6, free=10**12)) == MAX_ACCELERATOR_PIXELS


def test_what_free_memory_cannot_hold_has_no_room():
    sizes = BatchPixels(FakeMemory(taken=1, free=1000))
    assert sizes.has_room_for(500)
    assert not sizes.has_room_for(501)
