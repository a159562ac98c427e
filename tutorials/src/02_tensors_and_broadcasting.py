# %% [markdown] lang="en"
# # 02 · Tensors, strides and broadcasting
#
# Arrays in place of single numbers bring two questions that 01 did not have. Where are the numbers of a transposed or sliced array,
# and who else sees it when one of them changes? And when a small array is stretched over a large one, where does the gradient of the
# large one go? The answers are short: *strides*, and *sum where it was stretched*.
#
# **You need** 01, and NumPy's indexing. **Time**: about 45 minutes with the exercises.
# **You will have**: a picture of what a view is, the gradients of sum, matmul and indexing from one principle, and the rule that
# undoes broadcasting, which is where most hand-written gradients are wrong.

# %%
import numpy as np

import minidl as torch
from minidl.learn.show import figure, number, predict, present, quote, table

# %% [markdown] lang="en"
# ## Shape and strides
#
# Memory is a line. A tensor of shape (3, 4) is 12 numbers on that line and two *strides*: how many places to go for the next row, and
# for the next column. Transposing, slicing and stretching change the strides and leave the numbers where they are:

# %%
x = torch.arange(12.0).reshape(3, 4)
views = {
    "x": x,
    "x.T": x.T,
    "x[:, ::2]": x[:, ::2],
    "x[1]": x[1],
    "x[1].expand(3, 4)": x[1].expand(3, 4),
}
table(
    [[name, str(tuple(v.shape)), str(v.stride()), v.storage_offset(), v.is_contiguous()] for name, v in views.items()],
    ["tensor", "shape", "strides", "first", "contiguous"],
)

# %%
drawn, axes = figure(8.5, 2.2, panels=4)
pictures = [("x", x), ("x.T", x.T), ("x[:, ::2]", x[:, ::2]), ("x[1].expand(3, 4)", x[1].expand(3, 4))]
for panel, (name, view) in zip(axes, pictures, strict=True):
    places = view.storage_offset() + np.add.outer(*[np.arange(n) * s for n, s in zip(view.shape, view.stride(), strict=True)])
    panel.imshow(places, cmap="cividis", vmin=0, vmax=11)
    for (i, j), place in np.ndenumerate(places):
        panel.text(j, i, str(place), ha="center", va="center", fontsize=8, color="white" if place < 6 else "black")
    panel.set_title(name)
    panel.set(xticks=[], yticks=[])
present(
    drawn,
    "Where on the line of memory the elements of four views lie. x: 0 to 11 by rows. x.T: the same, by columns. x[:, ::2]: every second "
    "column. x[1].expand(3, 4): the places 4 to 7, three times.",
)

# %% [markdown] lang="en"
# The last one is the important one: its stride for rows is **0**. Three rows, and one copy of the numbers. This is broadcasting.
#
# Since views share memory, a write is seen by all of them:

# %%
row = x[1]
row += 100
print(x)
x[1] -= 100

# %% [markdown] lang="en"
# ## Broadcasting
#
# Shapes are aligned **at the right**; a missing size counts as 1; a size of 1 is stretched to the other's. That is all:
#
# | a | b | result |
# |---|---|---|
# | (3, 4) | (4,) | (3, 4): the row b under each row of a |
# | (3, 4) | (3, 1) | (3, 4): the column b beside each column |
# | (3, 1) | (4,) | (3, 4): every pair |
# | (3, 4) | (3,) | an error: 4 against 3 |
#
# **Predict.** `scores` has shape (128, 10), `labels` (128,), and somebody writes `(scores.argmax(1, keepdim=True) == labels).sum()` to
# count the right answers. What shape has the comparison, and about what number comes out if nothing was learned?

# %%
torch.manual_seed(0)
scores, labels = torch.randn(128, 10), torch.randint(0, 10, (128,))
compared = scores.argmax(1, keepdim=True) == labels
print(tuple(compared.shape))
guess = None
predict("the count of right answers", guess, compared.sum().item())
number("miscounted", compared.sum().item(), tolerance=0.2)
number("counted", (scores.argmax(1) == labels).sum().item(), tolerance=0.5)

# %% [markdown] lang="en"
# (128, 1) against (128,) is every pair: 16,384 comparisons, {miscounted:.0f} of them equal, of 128 images. The right count is {counted:.0f}.
# Nothing raised: a shape that broadcasts by accident is the most common silent bug of array programs, so ask for shapes early.
#
# ## The gradient of a stretched tensor
#
# Take y = x + b with x of shape (3, 4) and b of shape (4,). Each b[j] is used in three places, and 01 has shown what happens to a number
# that is used several times: its gradients add up. So the gradient of b is the gradient of y, **summed over the axes along which b was
# stretched**:

# %%
x = torch.randn(3, 4, requires_grad=True)
b = torch.randn(4, requires_grad=True)
g = torch.randn(3, 4)
((x + b) * g).sum().backward()
print("x:", bool((x.grad == g).all()), " b:", bool(torch.allclose(b.grad, g.sum(0))))

# %% [markdown] lang="en"
# One function undoes broadcasting for every operation. Written out:


# %%
def unbroadcast(g, shape):
    """The gradient for an operand of `shape`, from that of the broadcast result."""
    while g.ndim > len(shape):  # axes that the operand did not have
        g = g.sum(0)
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    return g.sum(stretched, keepdims=True) if stretched else g


rng = np.random.default_rng(0)
for shape in [(4,), (1, 4), (3, 1), (1, 1), (), (3, 4)]:
    assert unbroadcast(rng.normal(size=(3, 4)), shape).shape == shape

# %% [markdown] lang="en"
# In the engine it stands in one place and no operation has to think of it; rules like `Mul`'s return a gradient of the result's shape, and
# `engine.run` does the rest:

# %%
from minidl.autograd import engine

quote(engine.sum_to)

# %% [markdown] lang="en"
# What goes wrong without it: the gradient of b has the shape (3, 4), and an update b −= lr · g turns b itself into a (3, 4) matrix, or,
# worse, somebody takes `g.mean(0)` "to make it fit". That has the right shape and is a factor of 3 too small: the bias learns at a third
# of the rate, and the factor changes with the batch size. Gradient checking finds it at once.
#
# ## Three more gradients from the same idea
#
# *Gradient = for each input number, add up what comes back from each place where it was used.*
#
# | operation | where is one input number used? | gradient |
# |---|---|---|
# | s = x.sum(0) | x[i, j] in s[j], with factor 1 | g, stretched over the rows |
# | C = A B | A[i, k] in C[i, j], for every j, with factor B[k, j] | g Bᵀ |
# | y = x[rows] | x[r] in each i with rows[i] = r | g[i], added to row rows[i] |
#
# Sum and stretch are each other's gradients. And in the last line "added" is meant: a row that was taken twice gets two shares.
#
# **Predict.** `rows = [0, 0, 2]`, g of ones. Two ways to send the gradient back in NumPy are `out[rows] += g` and
# `np.add.at(out, rows, g)`. What does the first one give for row 0?

# %%
rows = np.array([0, 0, 2])
buffered, added = np.zeros(3), np.zeros(3)
buffered[rows] += 1
np.add.at(added, rows, 1)
table([["out[rows] += g", *buffered], ["np.add.at(out, rows, g)", *added]], ["", "row 0", "row 1", "row 2"])
guess = None
predict("row 0 by out[rows] += g", guess, buffered[0])
number("lost", added[0] - buffered[0], tolerance=0)

# %% [markdown] lang="en"
# `out[rows] += g` reads, adds and writes back *once* per row: a share is lost. For an embedding this means that a word that occurs twice
# in a batch learns from one of its places only.

# %%
table_of_words = torch.zeros(3, 1, requires_grad=True)
torch.nn.functional.embedding(torch.tensor(rows), table_of_words).sum().backward()
print(table_of_words.grad[:, 0])

# %% [markdown] lang="en"
# ## Batched products
#
# `A @ B` with more than two axes is a stack of products, and the axes before the last two broadcast. Both rules of above meet here:
# g Bᵀ for each of the stack, then sum over the axes along which A was stretched. One linear layer for all heads of an attention, one
# weight for all times of a sequence: this is the product behind them.

# %%
A = torch.randn(5, 1, 3, 4, dtype=torch.float64, requires_grad=True)  # stretched over 2
B = torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)  # stretched over 5
product = A @ B
g = torch.randn(*product.shape, dtype=torch.float64)
(product * g).sum().backward()
by_hand = unbroadcast((g @ B.detach().transpose(-1, -2)).numpy(), A.shape)
print(tuple(product.shape), "largest difference:", float(np.abs(by_hand - A.grad.numpy()).max()) < 1e-12)
print("central differences agree:", torch.autograd.gradcheck(torch.matmul, (A, B)))

# %% [markdown] lang="en"
# ## What a layout costs
#
# Strides do not change results, but they change what a loop over the numbers costs: memory comes in lines of 64 bytes, 16 numbers of
# float32, and a loop with a large stride uses one number of each line. The count of lines that a walk through x and x.T touches,
# for a matrix of 512 × 512 and a cache that holds 64 lines:


# %%
def lines_fetched(order, n=512, cached=64):
    """How often a line of 16 numbers has to be fetched, walking in `order`; the least recently used line is dropped."""
    cache, fetched = {}, 0
    for i in range(n):
        for j in range(0, n, 1 if order == "columns" else 16):  # by rows, the 16 numbers of a line come one after the other
            line = (i * n + j) // 16 if order == "rows" else (j * n + i) // 16
            if line in cache:
                cache.pop(line)
            else:
                fetched += 1
                if len(cache) == cached:
                    cache.pop(next(iter(cache)))
            cache[line] = None
    return fetched


by_rows, by_columns = lines_fetched("rows"), lines_fetched("columns")
number("rows_fetched", by_rows, tolerance=0)
number("columns_fetched", by_columns, tolerance=0)

# %% [markdown] lang="en"
# {rows_fetched:.0f} lines against {columns_fetched:.0f}: sixteen times as many. That is why kernels ask for contiguous arrays, and
# why convolution here keeps its channels last in memory, behind shapes that say (B, C, H, W).
#
# ## Your turn

# %%
from minidl.learn import check


def unbroadcast(g, shape):
    raise NotImplementedError


check("arr03", unbroadcast)

# %% [markdown] lang="en"
# Also: `arr01` (the shape of a broadcast), `arr06` (scatter-add), `ag05` (matmul backward).
#
# ## Questions that interviewers ask here
#
# - What does `expand` allocate? And `repeat`?
# - The loss is a number, the weights have the right shapes, and the network learns badly. Which broadcasting mistakes would you look for?
# - Why is the gradient of a bias a sum over the batch, and what changes if the loss is a mean?
#
# **Next**: 05, a network made of these operations.
