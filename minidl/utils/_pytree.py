"""Nested containers as lists of leaves and back, under the names by which libraries reach for PyTorch's own.

A tree is a dict, list, tuple or named tuple of trees; everything else is a leaf.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple


class TreeSpec(NamedTuple):
    """The shape of a tree: its type, what makes one of its children (None for a leaf), and their shapes."""

    type: Any
    rebuild: Callable[[list[Any]], Any] | None
    children: list[TreeSpec]

    @property
    def num_leaves(self) -> int:
        """How many leaves it has."""
        return 1 if self.rebuild is None else sum(child.num_leaves for child in self.children)


LEAF = TreeSpec(None, None, [])


def _opened(tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any] | None]:
    """The children of a tree and what makes it again out of such children; of a leaf, itself and None."""
    kind = type(tree)
    if kind in (dict, OrderedDict):
        return list(tree.values()), lambda children: kind(zip(tree, children, strict=True))
    if kind in (list, tuple):
        return list(tree), kind
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return list(tree), lambda children: kind(*children)
    return [tree], None


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves of a tree, in order, and its shape."""
    children, rebuild = ([tree], None) if is_leaf is not None and is_leaf(tree) else _opened(tree)
    if rebuild is None:
        return [tree], LEAF
    parts = [tree_flatten(child, is_leaf) for child in children]
    return [leaf for leaves, _ in parts for leaf in leaves], TreeSpec(type(tree), rebuild, [spec for _, spec in parts])


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The tree of this shape with these leaves. Raises ValueError for another number of leaves."""
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(f"tree_unflatten: got {len(leaves)} leaves for a tree of {treespec.num_leaves}")
    return _filled(treespec, iter(leaves))


def _filled(spec: TreeSpec, leaves: Iterator[Any]) -> Any:
    return next(leaves) if spec.rebuild is None else spec.rebuild([_filled(child, leaves) for child in spec.children])


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of a tree, in order."""
    return tree_flatten(tree, is_leaf)[0]


def tree_map(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """The tree with func of each leaf in its place; with more trees of the same shape, of the leaves at the same place."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [tree_leaves(rest, is_leaf) for rest in rests]
    return tree_unflatten([func(*row) for row in zip(leaves, *others, strict=True)], spec)


def tree_map_only(kind: Any, func: Callable[[Any], Any], tree: Any) -> Any:
    """tree_map of the leaves of one type; the others stay."""
    return tree_map(lambda leaf: func(leaf) if isinstance(leaf, kind) else leaf, tree)


__all__ = ["TreeSpec", "tree_flatten", "tree_leaves", "tree_map", "tree_map_only", "tree_unflatten"]
