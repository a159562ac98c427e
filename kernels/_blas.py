"""What `cblas_gemm` of blas.py compiles to: a call of the library's function under a name of our own.

The name stands in cached machine code, the address behind it is made known to LLVM in each process: here, since this module
is imported before a kernel that names `cblas_gemm` is compiled or loaded from the cache.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, errors, types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from .blas import PLAIN, ROW_MAJOR, TRANSPOSED, gemm_loops, library

ENUM, SIZE = ir.IntType(32), ir.IntType(64)
KINDS = {types.float32: "sgemm", types.float64: "dgemm"}


def call_gemm(
    typing: Any, a_transposed: Any, b_transposed: Any, m: Any, n: Any, k: Any,
    alpha: Any, a: Any, lda: Any, b: Any, ldb: Any, beta: Any, c: Any, ldc: Any,
) -> Any:  # fmt: skip
    element = c.dtype
    if element not in KINDS or a.dtype != element or b.dtype != element:
        raise errors.TypingError(f"blas: float32 or float64 arrays of one type, got {a}, {b}, {c}")
    choice, size = types.boolean, types.int64

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def flag(value: Any) -> Any:
            return builder.select(value, ir.Constant(ENUM, TRANSPOSED), ir.Constant(ENUM, PLAIN))

        def data(kind: Any, value: Any) -> Any:
            return context.make_array(kind)(context, builder, value).data

        passed = [
            ir.Constant(ENUM, ROW_MAJOR), flag(args[0]), flag(args[1]), *args[2:6],
            data(a, args[6]), args[7], data(b, args[8]), args[9], args[10], data(c, args[11]), args[12],
        ]  # fmt: skip
        function = ir.FunctionType(ir.VoidType(), [value.type for value in passed])
        builder.call(cgutils.get_or_insert_function(builder.module, function, f"minidl_{KINDS[element]}"), passed)
        return context.get_dummy_value()

    sig = signature(
        types.void, choice, choice, size, size, size, element, a, size, b, size, element, c, size
    )  # fmt: skip
    return sig, generate


found = library()
cblas_gemm: Any
if found is None:
    cblas_gemm = gemm_loops.compile()
else:
    for name in ("sgemm", "dgemm"):
        llvmlite.binding.add_symbol(f"minidl_{name}", found.address(name))
    cblas_gemm = intrinsic(call_gemm)
    cblas_gemm.py_func = call_gemm  # for LazyJit.origin
