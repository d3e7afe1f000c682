"""One split of a data set as a sequence of samples, for the reader's own loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self, overload

from pixelwise.data.sample import Record, Sample

Transform = Callable[[Sample], Any]
"""Anything that takes a sample. Worker processes need one that can be pickled: a function of a
module, a method of a class or an instance, but no lambda."""


@dataclass(frozen=True)
class Split:
    """The samples of one split, decoded when they are indexed.

    It is a map-style data set of torch, which ``torch.utils.data.DataLoader`` takes as it is, also
    with worker processes: it can be pickled, and torch is not needed to make one. Indices and
    slices behave as in a list, but a slice is a :class:`Split` again, of which nothing is decoded.

    Attributes:
        records: The records of the images, sorted by name.
        load: Decodes a record, or reads it from a cache.
        transform: Called with each sample; its result is the item. ``None`` gives the sample.

    Example:
        >>> train = open_dataset("my-images").train  # doctest: +SKIP
        >>> train[0].image.shape, train[-1].name, len(train[:10])  # doctest: +SKIP
        ((512, 512, 3), '0127', 10)
        >>> loader = DataLoader(train.with_transform(Sample.to_tensors))  # doctest: +SKIP
    """

    records: tuple[Record, ...] = field(repr=False)
    load: Callable[[Record], Sample] = field(repr=False, compare=False)
    transform: Transform | None = None

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return replace(self, records=self.records[index])
        try:
            record = self.records[index]
        except IndexError:
            raise IndexError(
                f"index must be from {-len(self)} to {len(self) - 1}. Got {index}"
            ) from None
        return self._item(record)

    def __iter__(self) -> Iterator[Any]:
        # Without it, an IndexError of a transform would end a loop as if all items were seen.
        return map(self._item, self.records)

    def with_transform(self, transform: Transform | None) -> Self:
        """Return the same split with another transform, which replaces the present one.

        A data set holds all splits, and training and validation images need different transforms;
        so it is the split that has the attribute ``transform`` of torchvision's data sets.

        Args:
            transform: Called with each sample, such as :meth:`Sample.to_tensors`; ``None`` gives
                the samples themselves.
        """
        return replace(self, transform=transform)

    def _item(self, record: Record) -> Any:
        sample = self.load(record)
        return sample if self.transform is None else self.transform(sample)
