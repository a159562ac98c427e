"""What the names of simd.py compile to: LLVM's vector types and instructions, made known to Numba.

A `Vector` is a Numba type whose values are LLVM vectors, so they live in registers like any number. Functions are
`@operation`s: called with the types of the arguments, they return the signature and the function that emits the
instructions. Operators are typed and emitted by `operator_`.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, errors, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from .simd import cpu_features, width

WIDTH = width()
FEATURES = cpu_features()

I32, POSITION = ir.IntType(32), types.intp
LLVM = {types.float32: ir.FloatType(), types.int32: I32, types.boolean: ir.IntType(1)}
MEMORY = {types.float32: types.float32, types.int32: types.int32, types.int8: types.int32, types.uint8: types.int32}


class Vector(types.Type):
    """WIDTH lanes of float32, int32 or boolean."""

    def __init__(self, element: Any) -> None:
        self.element = element
        super().__init__(name=f"{WIDTH} x {element}")


FLOATS, INTS, MASK = Vector(types.float32), Vector(types.int32), Vector(types.boolean)
VECTORS = {types.float32: FLOATS, types.int32: INTS}


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(LLVM[kind.element], WIDTH))  # type: ignore[no-untyped-call]


def operation(function: Callable[..., Any]) -> Any:
    """`numba.extending.intrinsic`, under a name that has the width in it: see LazyJit.origin."""
    function.__qualname__ += f"-{WIDTH}"
    made: Any = intrinsic(function)
    made.py_func = function
    return made


def is_float(kind: Any) -> bool:
    return getattr(kind, "element", kind) == types.float32


def common(*kinds: Any) -> Any:
    """The type of the result of an operation on these: their vector type, or that of the numbers if all are numbers."""
    vectors = {kind for kind in kinds if isinstance(kind, Vector)}
    numbers = [kind for kind in kinds if kind not in vectors]
    whole = all(isinstance(kind, types.Integer) for kind in numbers)
    if len(vectors) > 1 or not all(isinstance(kind, types.Integer | types.Float | Vector) for kind in kinds):
        raise errors.TypingError(f"simd: {', '.join(map(str, kinds))} do not go together; see float32() and int32()")
    if not vectors:
        return types.int32 if whole else types.float32
    (vector,) = vectors
    if numbers and not (vector == FLOATS or (vector == INTS and whole)):
        raise errors.TypingError(f"simd: a number of type {numbers[0]} does not go together with {vector}")
    return vector


def takes(kinds: tuple[Any, ...], kind: Any) -> list[Any]:
    """The types that arguments are converted to before they come here: a number stays one, of the element type."""
    return [k if isinstance(k, Vector) else getattr(kind, "element", kind) for k in kinds]


def fill(builder: Any, value: Any) -> Any:
    """A number in every lane."""
    kind = ir.VectorType(value.type, WIDTH)
    nothing = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(nothing, value, ir.Constant(I32, 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(I32, WIDTH), [0] * WIDTH))


def lanewise(kinds: tuple[Any, ...], emit: Callable[..., Any], kind: Any = None, result: Any = None) -> Any:
    """Signature and emitter of an operation on operands of one type, numbers among vectors being filled in."""
    kind = kind or common(*kinds)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit(builder, *widened(builder, args, kind))

    return signature(result or kind, *takes(kinds, kind)), generate


def widened(builder: Any, args: Any, kind: Any) -> list[Any]:
    vector = isinstance(kind, Vector)
    return [fill(builder, a) if vector and not isinstance(a.type, ir.VectorType) else a for a in args]


def call(builder: Any, name: str, *args: Any, returns: Any = None) -> Any:
    """Call LLVM's function `name` for the type of the first argument."""
    kind = args[0].type
    suffix = f"v{WIDTH}f32" if isinstance(kind, ir.VectorType) else "f32"
    function = ir.FunctionType(returns or kind, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, f"{name}.{suffix}"), args)


# Memory


def pointer(context: Any, builder: Any, array: Any, value: Any, position: Any, kind: Any) -> Any:
    """Address of an element of an array, as a pointer to `kind`."""
    data = context.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [position]), kind.as_pointer())


def element_type(array: Any, known: Any = MEMORY) -> Any:
    if not isinstance(array, types.Array) or array.dtype not in known:
        raise errors.TypingError(f"simd: expected an array of {', '.join(map(str, known))}, got {array}")
    return array.dtype


def lanes_in_memory(element: Any) -> Any:
    return ir.VectorType(ir.FloatType() if element == types.float32 else ir.IntType(element.bitwidth), WIDTH)


def masked(builder: Any, name: str, kind: Any, place: Any, mask: Any, value: Any, returns: Any) -> Any:
    """LLVM's masked load or store, aligned to nothing but the element."""
    element = "f32" if kind.element == ir.FloatType() else f"i{kind.element.width}"
    align = ir.Constant(I32, 1)
    args = [place, align, mask, value] if name == "load" else [value, place, align, mask]
    function = ir.FunctionType(returns, [a.type for a in args])
    full = f"llvm.masked.{name}.v{WIDTH}{element}.p0"
    return builder.call(cgutils.get_or_insert_function(builder.module, function, full), args)


def mask_or_all(mask: Any) -> Any:
    """The type of the argument `mask`, whose default is True: all lanes."""
    if mask is not True and mask != MASK:
        raise errors.TypingError(f"simd: expected a mask, got {mask}")
    return types.boolean if mask is True else MASK


@operation
def load(typing: Any, x: Any, i: Any, mask: Any = True) -> Any:
    element = element_type(x)
    kind = lanes_in_memory(element)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = pointer(context, builder, x, args[0], args[1], kind)
        if mask is True:
            value = builder.load(place)
            value.align = 1
        else:
            value = masked(builder, "load", kind, place, args[2], ir.Constant(kind, None), kind)
        if element in (types.float32, types.int32):
            return value
        return (builder.sext if element.signed else builder.zext)(value, ir.VectorType(I32, WIDTH))

    return signature(VECTORS[MEMORY[element]], x, POSITION, mask_or_all(mask)), generate


@operation
def store(typing: Any, x: Any, i: Any, value: Any, mask: Any = True) -> Any:
    element = element_type(x)
    kind, wanted = lanes_in_memory(element), VECTORS[MEMORY[element]]
    if value != wanted:
        raise errors.TypingError(f"simd: store of {value} into {x}, which takes {wanted}")

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = pointer(context, builder, x, args[0], args[1], kind)
        lanes = args[2] if element in (types.float32, types.int32) else builder.trunc(args[2], kind)
        if mask is True:
            builder.store(lanes, place).align = 1
        else:
            masked(builder, "store", kind, place, args[3], lanes, ir.VoidType())
        return context.get_dummy_value()

    return signature(types.void, x, POSITION, value, mask_or_all(mask)), generate


@operation
def broadcast(typing: Any, x: Any, i: Any) -> Any:
    element = element_type(x, (types.float32, types.int32))

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(pointer(context, builder, x, args[0], args[1], LLVM[element]))
        value.align = 4
        return fill(builder, value)

    return signature(VECTORS[element], x, POSITION), generate


@operation
def collect(typing: Any, x: Any, i: Any, table: Any, at: Any) -> Any:
    element_type(x, (types.float32,))
    element_type(table, (types.int64,))

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        entries = pointer(context, builder, table, args[2], args[3], ir.VectorType(ir.IntType(64), WIDTH))
        places, value = builder.load(entries), ir.Constant(ir.VectorType(ir.FloatType(), WIDTH), ir.Undefined)
        places.align = 8
        for lane in range(WIDTH):
            number = ir.Constant(I32, lane)
            place = builder.add(args[1], builder.extract_element(places, number))
            one = builder.load(pointer(context, builder, x, args[0], place, ir.FloatType()))
            value = builder.insert_element(value, one, number)
        return value

    return signature(FLOATS, x, POSITION, table, POSITION), generate


@operation
def splat(typing: Any, value: Any) -> Any:
    element = common(value)
    return signature(VECTORS[element], element), lambda context, builder, sig, args: fill(builder, args[0])


def numbered(bits: int = 32) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(bits), WIDTH), list(range(WIDTH)))


@operation
def lane_numbers(typing: Any) -> Any:
    return signature(INTS), lambda context, builder, sig, args: numbered()


@operation
def first(typing: Any, n: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        all_of_them = ir.Constant(args[0].type, WIDTH)  # a larger n is cut to this, so that it fits into 32 bits
        none = ir.Constant(args[0].type, 0)
        n = builder.select(builder.icmp_signed("<", args[0], all_of_them), args[0], all_of_them)
        n = builder.select(builder.icmp_signed(">", n, none), n, none)
        return builder.icmp_signed("<", numbered(), fill(builder, builder.trunc(n, I32)))

    return signature(MASK, POSITION), generate


# Values


@operation
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    floats(a, b, c)
    return lanewise((a, b, c), lambda builder, *values: call(builder, "llvm.fmuladd", *values))


def floats(*kinds: Any) -> None:
    if common(*kinds) not in (types.float32, FLOATS):
        raise errors.TypingError(f"simd: expected floats, got {', '.join(map(str, kinds))}")


def compare(builder: Any, sign: str, a: Any, b: Any) -> Any:
    kind = getattr(a.type, "element", a.type)
    if kind != ir.FloatType():
        return builder.icmp_signed(sign, a, b)
    return (builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered)(sign, a, b)  # NaN != NaN, else false


@operation
def minimum(typing: Any, a: Any, b: Any) -> Any:
    return lanewise((a, b), lambda builder, a, b: builder.select(compare(builder, "<", a, b), a, b))


@operation
def maximum(typing: Any, a: Any, b: Any) -> Any:
    return lanewise((a, b), lambda builder, a, b: builder.select(compare(builder, ">", a, b), a, b))


@operation
def select(typing: Any, mask: Any, a: Any, b: Any) -> Any:
    kind = common(a, b)
    if mask == MASK:
        kind = VECTORS.get(kind, kind)  # two numbers, and a mask to choose between them
    elif mask != types.boolean:
        raise errors.TypingError(f"simd: select takes a mask (a comparison), got {mask}")

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(args[0], *widened(builder, args[1:], kind))

    return signature(kind, mask, *takes((a, b), kind)), generate


@operation
def sqrt(typing: Any, x: Any) -> Any:
    floats(x)
    return lanewise((x,), lambda builder, x: call(builder, "llvm.sqrt", x))


@operation
def floor(typing: Any, x: Any) -> Any:
    floats(x)
    return lanewise((x,), lambda builder, x: call(builder, "llvm.floor", x))


@operation
def rint(typing: Any, x: Any) -> Any:
    floats(x)
    return lanewise((x,), lambda builder, x: call(builder, "llvm.rint", x))


def convert(x: Any, to: Any, emit: str) -> Any:
    """Signature and emitter of a conversion between floats and ints."""
    kind = common(x)
    element = getattr(kind, "element", kind)
    to = VECTORS[to] if isinstance(kind, Vector) else to

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return args[0] if kind == to else getattr(builder, emit)(args[0], context.get_value_type(to))

    return signature(to, *takes((x,), element)), generate


@operation
def int32(typing: Any, x: Any) -> Any:
    return convert(x, types.int32, "fptosi")


@operation
def float32(typing: Any, x: Any) -> Any:
    return convert(x, types.float32, "sitofp")


@operation
def bits(typing: Any, x: Any) -> Any:
    floats(x)
    return convert(x, types.int32, "bitcast")


@operation
def from_bits(typing: Any, x: Any) -> Any:
    return convert(x, types.float32, "bitcast")


# Across the lanes


def reduced(builder: Any, value: Any, join: Callable[[Any, Any], Any]) -> Any:
    """Join the upper half of the lanes to the lower half until one is left."""
    lanes = WIDTH
    while lanes > 1:
        lanes //= 2
        half = ir.VectorType(I32, lanes)
        lower = builder.shuffle_vector(value, value, ir.Constant(half, list(range(lanes))))
        upper = builder.shuffle_vector(value, value, ir.Constant(half, list(range(lanes, 2 * lanes))))
        value = join(lower, upper)
    return builder.extract_element(value, ir.Constant(I32, 0))


def reduction(value: Any, join: Callable[..., Any]) -> Any:
    if value not in (FLOATS, INTS):
        raise errors.TypingError(f"simd: expected a register of floats or ints, got {value}")

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return reduced(builder, args[0], lambda a, b: join(builder, a, b))

    return signature(value.element, value), generate


@operation
def sum_lanes(typing: Any, value: Any) -> Any:
    return reduction(value, arithmetic("fadd", "add"))


@operation
def max_lanes(typing: Any, value: Any) -> Any:
    return reduction(value, lambda builder, a, b: builder.select(compare(builder, ">", a, b), a, b))


@operation
def any_lane(typing: Any, mask: Any) -> Any:
    if mask != MASK:
        raise errors.TypingError(f"simd: expected a mask, got {mask}")

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        whole = ir.IntType(WIDTH)
        return builder.icmp_unsigned("!=", builder.bitcast(args[0], whole), ir.Constant(whole, 0))

    return signature(types.boolean, mask), generate


# Bytes


def four_bytes(x: Any, emit_type: Any, finish: Callable[..., Any]) -> Any:
    element_type(x, (types.int8, types.uint8))

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(pointer(context, builder, x, args[0], args[1], emit_type))
        value.align = 1
        return finish(builder, value)

    return signature(INTS, x, POSITION), generate


@operation
def load4(typing: Any, x: Any, i: Any) -> Any:
    return four_bytes(x, ir.VectorType(I32, WIDTH), lambda builder, value: value)


@operation
def broadcast4(typing: Any, x: Any, i: Any) -> Any:
    return four_bytes(x, I32, fill)


@operation
def dot4(typing: Any, total: Any, u: Any, s: Any) -> Any:
    if (total, u, s) != (INTS, INTS, INTS):
        raise errors.TypingError(f"simd: dot4 takes three registers of ints, got {total}, {u}, {s}")
    return signature(INTS, INTS, INTS, INTS), lambda context, builder, sig, args: dot4_of(builder, *args)


def dot4_of(builder: Any, total: Any, u: Any, s: Any) -> Any:
    one = "avx512vnni" in FEATURES if WIDTH == 16 else FEATURES >= {"avx512vnni", "avx512vl"} or "avxvnni" in FEATURES
    if one:
        return dot4_instruction(builder, total, u, s)
    return (dot4_pairs if PAIRS[WIDTH][0] in FEATURES else dot4_shifts)(builder, total, u, s)


def dot4_instruction(builder: Any, total: Any, u: Any, s: Any) -> Any:
    function = ir.FunctionType(total.type, [total.type] * 3)
    name = f"llvm.x86.avx512.vpdpbusd.{32 * WIDTH}"
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), [total, u, s])


# what the CPU needs for it, and LLVM's name of the instruction that multiplies int16 and adds up pairs of products in int32
PAIRS = {
    4: ("sse2", "llvm.x86.sse2.pmadd.wd"),
    8: ("avx2", "llvm.x86.avx2.pmadd.wd"),
    16: ("avx512bw", "llvm.x86.avx512.pmaddw.d.512"),
}


def dot4_pairs(builder: Any, total: Any, u: Any, s: Any) -> Any:
    """The bytes as int16, first those in even places, then those in odd ones: two products fit into int32, not into int16."""
    halves = ir.VectorType(ir.IntType(16), 2 * WIDTH)
    eight, low = ir.Constant(halves, [8] * 2 * WIDTH), ir.Constant(halves, [255] * 2 * WIDTH)
    function = ir.FunctionType(total.type, [halves, halves])
    pairs = cgutils.get_or_insert_function(builder.module, function, PAIRS[WIDTH][1])
    u, s = (builder.bitcast(x, halves) for x in (u, s))
    even = builder.call(pairs, [builder.and_(u, low), builder.ashr(builder.shl(s, eight), eight)])
    odd = builder.call(pairs, [builder.lshr(u, eight), builder.ashr(s, eight)])
    return builder.add(total, builder.add(even, odd))


def dot4_shifts(builder: Any, total: Any, u: Any, s: Any) -> Any:
    def number(n: int) -> Any:
        return ir.Constant(ir.VectorType(I32, WIDTH), [n] * WIDTH)

    for shift in (0, 8, 16, 24):
        byte = builder.and_(builder.lshr(u, number(shift)), number(255))
        signed = builder.ashr(builder.shl(s, number(24 - shift)), number(24))
        total = builder.add(total, builder.mul(byte, signed))
    return total


# Operators


def arithmetic(float_name: str | None, int_name: str | None) -> Callable[..., Any]:
    """Emitter of an instruction that has one name for floats and one for ints."""

    def emit(builder: Any, *values: Any) -> Any:
        if values[0].type.element == ir.FloatType():
            return getattr(builder, float_name or "")(*values, flags=("contract",))
        return getattr(builder, int_name or "")(*values)

    return emit


def operator_(function: Any, emit: Callable[..., Any], of: tuple[Any, ...], count: int, result: Any = None) -> None:
    """Make an operator known for vectors of the types `of`, with numbers on the other side or not."""

    @infer_global(function)
    class Typing(AbstractTemplate):
        def generic(self, args: tuple[Any, ...], kws: Any) -> Any:
            if not any(isinstance(kind, Vector) for kind in args):
                return None
            kind = args[0] if set(args) == {MASK} else common(*args)
            return signature(result or kind, *takes(args, kind)) if kind in of else None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit(builder, *widened(builder, args, FLOATS))

    for pattern in itertools.product((Vector, types.Number), repeat=count):
        if Vector in pattern:
            lower_builtin(function, *pattern)(generate)


for names, emitter, kinds in [
    ("add iadd", arithmetic("fadd", "add"), (FLOATS, INTS)),
    ("sub isub", arithmetic("fsub", "sub"), (FLOATS, INTS)),
    ("mul imul", arithmetic("fmul", "mul"), (FLOATS, INTS)),
    ("truediv itruediv", arithmetic("fdiv", None), (FLOATS,)),
    ("lshift ilshift", arithmetic(None, "shl"), (INTS,)),
    ("rshift irshift", arithmetic(None, "ashr"), (INTS,)),
    ("and_ iand", arithmetic(None, "and_"), (INTS, MASK)),
    ("or_ ior", arithmetic(None, "or_"), (INTS, MASK)),
    ("xor ixor", arithmetic(None, "xor"), (INTS, MASK)),
]:
    for name in names.split():  # Numba knows x += y by another name than x + y
        operator_(getattr(operator, name), emitter, kinds, 2)

operator_(operator.invert, lambda builder, x: builder.not_(x), (INTS, MASK), 1)
operator_(operator.neg, arithmetic("fneg", "neg"), (FLOATS, INTS), 1)


def absolute(builder: Any, x: Any) -> Any:
    if x.type.element == ir.FloatType():
        return call(builder, "llvm.fabs", x)
    return builder.select(builder.icmp_signed("<", x, ir.Constant(x.type, None)), builder.neg(x), x)


operator_(abs, absolute, (FLOATS, INTS), 1)

for function, sign in [(operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">="),
                       (operator.eq, "=="), (operator.ne, "!=")]:  # fmt: skip

    def emit(builder: Any, a: Any, b: Any, sign: str = sign) -> Any:
        return compare(builder, sign, a, b)

    operator_(function, emit, (FLOATS, INTS), 2, MASK)
