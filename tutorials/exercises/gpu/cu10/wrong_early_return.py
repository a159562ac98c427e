from numba import cuda, float32

TILE = 8


@cuda.jit
def matmul(a, b, out):
    tile_a = cuda.shared.array((TILE, TILE), float32)
    tile_b = cuda.shared.array((TILE, TILE), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    if row >= out.shape[0] or column >= out.shape[1]:
        return
    total = float32(0)
    for first in range(0, a.shape[1], TILE):
        inside = row < a.shape[0] and first + x < a.shape[1]
        tile_a[y, x] = a[row, first + x] if inside else float32(0)
        inside = first + y < b.shape[0] and column < b.shape[1]
        tile_b[y, x] = b[first + y, column] if inside else float32(0)
        cuda.syncthreads()
        for k in range(TILE):
            total += tile_a[y, k] * tile_b[k, x]
        cuda.syncthreads()
    out[row, column] = total
