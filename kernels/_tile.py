"""What the names of tile.py compile to. A tile is an LLVM array of vectors, which the compiler takes apart into registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import errors, types
from numba.core.typing.templates import signature
from numba.extending import intrinsic, models, register_model

from ._simd import (
    FLOATS,
    POSITION,
    WIDTH,
    call,
    dot4_of,
    element_type,
    fill,
    lanes_in_memory,
    masked,
    numbered,
    pointer,
)

LANES = lanes_in_memory(types.float32)
I32, I64 = ir.IntType(32), ir.IntType(64)


class Tile(types.Type):
    """`rows` x `columns` registers of float32, or of int32."""

    def __init__(self, rows: int, columns: int, element: Any = types.float32) -> None:
        self.rows, self.columns, self.element = rows, columns, element
        self.lanes = lanes_in_memory(element)
        super().__init__(name=f"tile of {rows} x {columns} x {WIDTH} {element}")


class Entries(types.Type):
    """`count` positions."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"{count} entries")


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Tile) -> None:
        super().__init__(manager, kind, ir.ArrayType(kind.lanes, kind.rows * kind.columns))  # type: ignore[no-untyped-call]


@register_model(Entries)
class EntriesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Entries) -> None:
        super().__init__(manager, kind, ir.ArrayType(I64, kind.count))  # type: ignore[no-untyped-call]


def operation(function: Callable[..., Any]) -> Any:
    """As in _simd.py; constants come as their values."""
    function.__qualname__ += f"-{WIDTH}"
    made: Any = intrinsic(prefer_literal=True)(function)
    made.py_func = function
    return made


def constant(kind: Any) -> int:
    if not isinstance(kind, types.IntegerLiteral):
        raise errors.RequireLiteralValue("tile: the numbers of rows and columns are constants")
    return int(kind.literal_value)


def column(context: Any, builder: Any, array: Any, value: Any, position: Any, c: int, lanes: Any = LANES) -> Any:
    """Address of register c of a row that begins at a position of an array."""
    place = builder.add(position, ir.Constant(I64, c * WIDTH))
    return pointer(context, builder, array, value, place, lanes)


def loaded(builder: Any, place: Any) -> Any:
    value = builder.load(place)
    value.align = 4
    return value


def gathered(builder: Any, kind: Any, values: list[Any]) -> Any:
    """LLVM's array of these values."""
    array = ir.Constant(ir.ArrayType(kind, len(values)), ir.Undefined)
    for i, value in enumerate(values):
        array = builder.insert_value(array, value, i)
    return array


def rows_of(builder: Any, kind: Tile, value: Any) -> list[list[Any]]:
    """The registers of a tile, row by row."""
    found = [builder.extract_value(value, i) for i in range(kind.rows * kind.columns)]
    return [found[i : i + kind.columns] for i in range(0, len(found), kind.columns)]


def begins(builder: Any, kind: Any, starts: Any, count: int) -> list[Any]:
    """Where each of `count` rows begins: entries of a table, or multiples of one number."""
    if isinstance(kind, Entries):
        return [builder.extract_value(starts, r) for r in range(count)]
    return [builder.mul(starts, ir.Constant(I64, r)) for r in range(count)]


def starts_of(kind: Any, t: Tile) -> Any:
    """The type that the argument `starts` is converted to."""
    if isinstance(kind, Entries) and kind.count == t.rows:
        return kind
    if isinstance(kind, types.Integer):
        return POSITION
    raise errors.TypingError(
        f"tile: the rows of a {t} begin at {t.rows} entries or at multiples of a number, got {kind}"
    )


@operation
def entries(typing: Any, table: Any, i: Any, count: Any) -> Any:
    kind = Entries(constant(count))

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        places = [builder.add(args[1], ir.Constant(I64, r)) for r in range(kind.count)]
        loads = [builder.load(pointer(context, builder, table, args[0], place, I64)) for place in places]
        return gathered(builder, I64, loads)

    return signature(kind, table, POSITION, count), generate


def zeros(kind: Tile, rows: Any, columns: Any) -> Any:
    nothing = ir.Constant(ir.ArrayType(kind.lanes, kind.rows * kind.columns), None)
    return signature(kind, rows, columns), lambda context, builder, sig, args: nothing


@operation
def tile(typing: Any, rows: Any, columns: Any) -> Any:
    return zeros(Tile(constant(rows), constant(columns)), rows, columns)


@operation
def int_tile(typing: Any, rows: Any, columns: Any) -> Any:
    return zeros(Tile(constant(rows), constant(columns), types.int32), rows, columns)


@operation
def load_tile(typing: Any, size: Any, x: Any, place: Any, starts: Any) -> Any:
    starts = starts_of(starts, size)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        numbers, place = args[1:3]
        rows = [builder.add(place, start) for start in begins(builder, starts, args[3], size.rows)]
        places = [column(context, builder, x, numbers, row, c) for row in rows for c in range(size.columns)]
        return gathered(builder, LANES, [loaded(builder, at) for at in places])

    return signature(size, size, x, POSITION, starts), generate


def not_unrolled(builder: Any, base: Any) -> Any:
    """An address, after an empty assembler instruction that "changes" it. LLVM does not unroll a loop with one in it; unrolled,
    it would load the numbers of the next step too, and then there are more values than registers."""
    return builder.asm(ir.FunctionType(base.type, [base.type]), "", "=r,0", [base], False)


def sum_of_products(t: Any, x: Any, starts: Any, w: Any, factors: Callable[..., Any]) -> Any:
    """t[r, c] + x's factor for it * w[c]; `factors` gets the address in x of a row and returns them, one for each c."""
    starts = starts_of(starts, t)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        totals, numbers, place, rows, weights, position = args
        base = pointer(context, builder, x, numbers, place, ir.FloatType())
        base = not_unrolled(builder, base)
        shared = [loaded(builder, column(context, builder, w, weights, position, c)) for c in range(t.columns)]
        results = []
        for start, row in zip(begins(builder, starts, rows, t.rows), rows_of(builder, t, totals), strict=True):
            own = factors(builder, builder.gep(base, [start]))
            results += [call(builder, "llvm.fmuladd", *each) for each in zip(own, shared, row, strict=True)]
        return gathered(builder, LANES, results)

    return signature(t, t, x, POSITION, starts, w, POSITION), generate


@operation
def add_products(typing: Any, t: Any, x: Any, place: Any, starts: Any, w: Any, position: Any) -> Any:
    def number(builder: Any, start: Any) -> Any:
        return [fill(builder, loaded(builder, start))] * t.columns

    return sum_of_products(t, x, starts, w, number)


@operation
def add_lanewise(typing: Any, t: Any, x: Any, place: Any, starts: Any, w: Any, position: Any) -> Any:
    def lanes(builder: Any, start: Any) -> Any:
        places = [builder.gep(start, [ir.Constant(I64, c * WIDTH)]) for c in range(t.columns)]
        return [loaded(builder, builder.bitcast(place, LANES.as_pointer())) for place in places]

    return sum_of_products(t, x, starts, w, lanes)


@operation
def add_dots(typing: Any, t: Any, x: Any, place: Any, starts: Any, w: Any, position: Any) -> Any:
    starts = starts_of(starts, t)
    for array in (x, w):
        element_type(array, (types.int8, types.uint8))
    if t.element != types.int32:
        raise errors.TypingError(f"tile: add_dots adds to an int_tile, got a {t}")

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        totals, numbers, place, rows, weights, position = args
        base = not_unrolled(builder, pointer(context, builder, x, numbers, place, ir.IntType(8)))
        lanes = [builder.add(position, ir.Constant(I64, 4 * c * WIDTH)) for c in range(t.columns)]
        shared = [loaded(builder, pointer(context, builder, w, weights, at, t.lanes)) for at in lanes]
        results = []
        for start, row in zip(begins(builder, starts, rows, t.rows), rows_of(builder, t, totals), strict=True):
            four = fill(builder, loaded(builder, builder.bitcast(builder.gep(base, [start]), I32.as_pointer())))
            results += [dot4_of(builder, total, four, s) for total, s in zip(row, shared, strict=True)]
        return gathered(builder, t.lanes, results)

    return signature(t, t, x, POSITION, starts, w, POSITION), generate


@operation
def add_row(typing: Any, t: Any, x: Any, position: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        shared = [loaded(builder, column(context, builder, x, args[1], args[2], c)) for c in range(t.columns)]
        rows = rows_of(builder, t, args[0])
        return gathered(builder, LANES, [builder.fadd(*pair) for row in rows for pair in zip(row, shared, strict=True)])

    return signature(t, t, x, POSITION), generate


def written(x: Any, starts: Any, t: Any, add: bool) -> Any:
    """Signature and emitter of storing a tile, or adding it to what is there."""
    starts = starts_of(starts, t)
    if element_type(x, (types.float32, types.int32)) != t.element or (add and t.element != types.float32):
        raise errors.TypingError(f"tile: a {t} cannot be {'added to' if add else 'stored into'} {x}")

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        numbers, place, rows, value, left = args
        whole = builder.icmp_signed(">=", left, ir.Constant(I64, t.columns * WIDTH))

        def each(write: Callable[..., None]) -> None:
            for start, row in zip(begins(builder, starts, rows, t.rows), rows_of(builder, t, value), strict=True):
                begin = builder.add(place, start)
                for c, register in enumerate(row):
                    write(c, column(context, builder, x, numbers, begin, c, t.lanes), register)

        def plainly(c: int, at: Any, register: Any) -> None:
            builder.store(builder.fadd(register, loaded(builder, at)) if add else register, at).align = 4

        def below(c: int) -> Any:
            rest = builder.trunc(builder.sub(left, ir.Constant(I64, c * WIDTH)), I32)
            return builder.icmp_signed("<", numbered(), fill(builder, rest))

        def by_mask(c: int, at: Any, register: Any) -> None:
            if add:
                there = masked(builder, "load", LANES, at, masks[c], ir.Constant(LANES, None), LANES)
                register = builder.fadd(register, there)
            masked(builder, "store", t.lanes, at, masks[c], register, ir.VoidType())

        with builder.if_else(whole) as (then, otherwise):
            with then:
                each(plainly)
            with otherwise:
                masks = [below(c) for c in range(t.columns)]
                each(by_mask)
        return context.get_dummy_value()

    return signature(types.void, x, POSITION, starts, t, POSITION), generate


@operation
def store_tile(typing: Any, x: Any, place: Any, starts: Any, t: Any, lanes: Any) -> Any:
    return written(x, starts, t, add=False)


@operation
def add_tile(typing: Any, x: Any, place: Any, starts: Any, t: Any, lanes: Any) -> Any:
    return written(x, starts, t, add=True)


@operation
def registers(typing: Any, t: Any) -> Any:
    if t.columns != 1:
        raise errors.TypingError(f"tile: registers takes a tile of one column, got {t}")
    return signature(types.UniTuple(FLOATS, t.rows), t), lambda context, builder, sig, args: args[0]


@operation
def stacked(typing: Any, values: Any) -> Any:
    if not isinstance(values, types.UniTuple) or values.dtype != FLOATS:
        raise errors.TypingError(f"tile: stacked takes a tuple of registers of floats, got {values}")
    return signature(Tile(values.count, 1), values), lambda context, builder, sig, args: args[0]


@operation
def transposed(typing: Any, t: Any) -> Any:
    if (t.rows, t.columns) != (WIDTH, 1):
        raise errors.TypingError(f"tile: transposed takes a tile of {WIDTH} x 1 registers, got {t}")

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = [row[0] for row in rows_of(builder, t, args[0])]
        # A matrix of four blocks is transposed by exchanging the upper right and the lower left one and transposing each of
        # the four: blocks of 1, 2, 4, ... lanes, all of one size at once.
        size = 1
        while size < WIDTH:
            for upper in range(WIDTH):
                if not upper & size:
                    pair = rows[upper], rows[upper + size]
                    rows[upper : upper + size + 1 : size] = exchanged(builder, *pair, size)
            size *= 2
        return gathered(builder, LANES, rows)

    return signature(t, t), generate


def exchanged(builder: Any, upper: Any, lower: Any, size: int) -> list[Any]:
    """Two rows after their lanes are exchanged in blocks of `size`: every second of the upper with the one before of lower."""
    kind, lanes = ir.VectorType(I32, WIDTH), range(WIDTH)
    first = [WIDTH + i - size if i & size else i for i in lanes]  # WIDTH + i is lane i of the lower row
    second = [WIDTH + i if i & size else i + size for i in lanes]
    return [builder.shuffle_vector(upper, lower, ir.Constant(kind, picks)) for picks in (first, second)]
