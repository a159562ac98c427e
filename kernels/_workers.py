"""What the instructions of workers.py compile to: a load that the compiler may not move out of the loop, with an
instruction to pause, and a call of the operating system.
"""

from __future__ import annotations

import os
import platform
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

HAS_PAUSE = platform.machine().lower() in ("x86_64", "amd64")


@intrinsic
def look(typing: Any, flags: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(flags)(context, builder, args[0]).data
        value = builder.load_atomic(builder.gep(data, [args[1]]), "acquire", 8)
        if HAS_PAUSE:
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, nothing, "llvm.x86.sse2.pause"), [])
        return value

    return signature(types.int64, flags, types.int64), generate


@intrinsic
def give_way(typing: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if os.name == "posix":
            number = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, number, "sched_yield"), [])
        return context.get_dummy_value()

    return signature(types.none), generate
