"""Linear algebra under PyTorch's names: `torch.linalg`. Every function works on batches of matrices, (..., M, N)."""

from .ops.decompositions import (
    cholesky,
    cholesky_ex,
    householder_product,
    lu_factor,
    lu_factor_ex,
)
from .ops.decompositions import linalg_lu as lu
from .ops.decompositions import linalg_lu_solve as lu_solve
from .ops.decompositions import linalg_qr as qr
from .ops.linalg import matmul
from .ops.matrix_functions import (
    cond,
    det,
    matrix_exp,
    matrix_norm,
    matrix_power,
    multi_dot,
    vector_norm,
)
from .ops.matrix_functions import linalg_diagonal as diagonal
from .ops.matrix_functions import linalg_norm as norm
from .ops.matrix_functions import linalg_slogdet as slogdet
from .ops.products import linalg_cross as cross
from .ops.products import linalg_vander as vander
from .ops.products import vecdot
from .ops.solving import (
    LinAlgError,
    inv,
    inv_ex,
    solve,
    solve_ex,
    solve_triangular,
    tensorinv,
    tensorsolve,
)
from .ops.spectral import eig, eigh, eigvals, eigvalsh, lstsq, matrix_rank, pinv, svdvals
from .ops.spectral import linalg_svd as svd

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh",
    "householder_product", "inv", "inv_ex", "lstsq", "lu", "lu_factor", "lu_factor_ex", "lu_solve", "matmul", "matrix_exp",
    "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_ex",
    "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip
