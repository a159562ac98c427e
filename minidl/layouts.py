"""Layouts: how the elements of a tensor lie in memory, as names."""

from __future__ import annotations


class layout:
    """The name of a layout, such as `minidl.strided`: what `Tensor.layout` gives."""

    __slots__ = ("name", "title")

    def __init__(self, name: str, title: str) -> None:
        self.name, self.title = name, title

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name  # pickled by reference: there is one object of each


strided = layout("strided", "Strided")  # every element is stored, at regular steps
sparse_coo = layout("sparse_coo", "Sparse")  # the stored elements with their coordinates
sparse_csr = layout("sparse_csr", "SparseCsr")  # row by row: where each row begins, and the column of each element
sparse_csc = layout("sparse_csc", "SparseCsc")  # column by column
sparse_bsr = layout("sparse_bsr", "SparseBsr")  # as sparse_csr, with a block of elements for each index
sparse_bsc = layout("sparse_bsc", "SparseBsc")

BLOCKED = (sparse_bsr, sparse_bsc)
ALL = {each.name: each for each in (strided, sparse_coo, sparse_csr, sparse_csc, *BLOCKED)}
