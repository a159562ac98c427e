# %% [markdown] lang="en"
# # 14 · Attention from the formula
#
# softmax(QKᵀ/√d) V. Four letters, one division and one softmax, and on them stands every large language model. This notebook builds it
# term by term: why the division, what masks are, what heads are for, why order has to be told separately, and what it costs.
#
# **You need** 05, and softmax (exercise arr04). **Time**: about 50 minutes with the exercises.
# **You will have**: attention by hand beside the engine's, the measured reason for √d, a mask that does not make NaN, and attention that
# never holds its matrix of scores.

# %%
import math

import numpy as np

import minidl as torch
from minidl import nn
from minidl.learn.show import figure, number, predict, present, quote, table

# %% [markdown] lang="en"
# ## A lookup that can be differentiated
#
# A dictionary compares a query with keys and returns the value of the one that is equal. Attention compares by a product, turns the
# comparisons into weights that sum to 1, and returns the weighted mean of all values. A mean can be differentiated; a choice cannot.


# %%
def attention(q, k, v, scale=None, mask=None):
    """q (..., T, D), k (..., S, D), v (..., S, E) -> (..., T, E) and the weights (..., T, S)."""
    scores = q @ k.transpose(-2, -1) * (scale if scale is not None else q.shape[-1] ** -0.5)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)  # True: may be looked at
    weights = scores.softmax(-1)
    return weights @ v, weights


torch.manual_seed(0)
keys = torch.eye(4)
values = torch.tensor([[10.0], [20.0], [30.0], [40.0]])
rows = []
for sharpness in (0.0, 1.0, 4.0, 16.0):
    out, weights = attention(sharpness * keys[2:3], keys, values, scale=1.0)
    rows.append([sharpness, *weights[0].tolist(), out.item()])
table(rows, ["query's length", "w₁", "w₂", "w₃", "w₄", "result"])

# %% [markdown] lang="en"
# A query of length 0 asks nothing and gets the mean; a long one along the third key gets the third value.
#
# ## Why divide by √d
#
# Let q and k have d independent components with mean 0 and variance 1. Their product is a sum of d terms of variance 1: its variance is
# **d**. With d = 64, scores have a standard deviation of 8; exp(8) is 3,000 times exp(0). The softmax then puts nearly everything on one
# key, and where softmax is saturated its derivative is near 0: wᵢ(1 − wᵢ) is small for w near 0 and near 1 alike.
#
# **Predict.** 64 keys, d = 1024, no division. How large is the largest weight, on average? (1/64 would be even, 1 would be a choice.)


# %%
def saturation(d, scaled, keys=64, queries=256):
    """Mean largest weight, and the share of queries whose softmax has nearly no derivative (Frobenius norm below 0.01)."""
    torch.manual_seed(d)
    q, k = torch.randn(queries, d), torch.randn(keys, d)
    _, w = attention(q, k, k, scale=d**-0.5 if scaled else 1.0)
    jacobian = torch.diag_embed(w) - w[:, :, None] * w[:, None, :]
    norms = jacobian.square().sum((1, 2)).sqrt()
    return w.max(1).values.mean().item(), (norms < 0.01).float().mean().item()


sizes = [4, 16, 64, 256, 1024]
plain = [saturation(d, scaled=False) for d in sizes]
scaled = [saturation(d, scaled=True) for d in sizes]
guess = None
predict("mean largest weight at d = 1024", guess, plain[-1][0])
number("largest_plain", plain[-1][0])
number("largest_scaled", scaled[-1][0], tolerance=0.2)
number("dead_plain", plain[-1][1], tolerance=0.2)

# %%
drawn, axes = figure(8, 3, panels=2)
for panel, which, title in zip(axes, (0, 1), ("mean largest weight of 64", "share of queries without a derivative"), strict=True):
    panel.plot(sizes, [p[which] for p in plain], label="q·k")
    panel.plot(sizes, [s[which] for s in scaled], label="q·k / √d")
    panel.set(xscale="log", xlabel="d", title=title, ylim=(-0.03, 1.03))
axes[0].legend()
present(
    drawn,
    "Left: without the division the largest weight rises with d towards 1; with it, it stays small. Right: the share of queries whose "
    "softmax has almost no derivative rises with d without the division, and is zero with it.",
    {
        "d": sizes,
        "largest weight": [p[0] for p in plain],
        "scaled": [s[0] for s in scaled],
        "no derivative": [p[1] for p in plain],
        "scaled ": [s[1] for s in scaled],
    },
)

# %% [markdown] lang="en"
# Without the division the largest of 64 weights is {largest_plain:.2f} at d = 1024, and {dead_plain:.0%} of the queries have hardly any
# derivative; with it, {largest_scaled:.2f} and none. Vaswani and others (2017) give this reason: large products push softmax "into regions
# where it has extremely small gradients". It is often retold as *against vanishing gradients*, which is another matter, of depth and of
# time; this one happens within a single softmax. `minidl demo softmax-scale` measures it with other seeds.
#
# ## Masks
#
# What must not be looked at gets the score −∞, and so the weight exp(−∞) = 0. Two masks are common: *causal* (position t sees up to t),
# so that a language model cannot read what it is to predict, and *padding*, since sequences of a batch have different lengths.
#
# **Predict.** A padded sequence may have no keys at all. All scores of a row are −∞. What is its softmax?

# %%
q = k = v = torch.randn(3, 8)
nothing = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
_, weights = attention(q, k, v, mask=nothing)
print(weights)

# %% [markdown] lang="en"
# exp(−∞ − (−∞)) is exp(NaN). And one NaN in a batch is a NaN in every gradient, also where the row is thrown away later. The
# engine defines the result of an empty row as 0, forward and backward:

# %%
q = q.clone().requires_grad_()
out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=nothing)
out.sum().backward()
table([[i, out[i].abs().sum().item(), q.grad[i].abs().sum().item()] for i in range(3)], ["row", "|out|", "|gradient of q|"])

# %% [markdown] lang="en"
# ## Heads
#
# One softmax gives each position one weighted mean. If a word has to look at its verb *and* at its article, it gets the mean of the two.
# So the D features are cut into H heads of D/H features, each with its own softmax. It is a matter of shape: (B, T, D) →
# (B, T, H, D/H) → (B, H, T, D/H). Both steps matter: a reshape straight to (B, H, T, D/H) has the right shape and mixes positions with
# features.

# %%
B, T, D, H = 2, 5, 12, 3
x = torch.arange(float(B * T * D)).reshape(B, T, D)
right = x.reshape(B, T, H, D // H).transpose(1, 2)
mixed = x.reshape(B, H, T, D // H)
print("position 1 of head 0:", right[0, 0, 1].tolist())
print("with a reshape only: ", mixed[0, 0, 1].tolist(), "(those are features 4 to 7 of position 0)")


# %%
class SelfAttention(nn.Module):
    """Multi-head self-attention: (B, T, D) -> (B, T, D)."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.project_in, self.project_out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x, mask=None):
        B, T, D = x.shape
        q, k, v = self.project_in(x).reshape(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        out, self.weights = attention(q, k, v, mask=mask)
        return self.project_out(out.transpose(1, 2).reshape(B, T, D))


torch.manual_seed(0)
mine = SelfAttention(12, 3)
theirs = nn.MultiheadAttention(12, 3, batch_first=True)
with torch.no_grad():
    theirs.in_proj_weight.copy_(mine.project_in.weight)
    theirs.in_proj_bias.copy_(mine.project_in.bias)
    theirs.out_proj.load_state_dict(mine.project_out.state_dict())
x = torch.randn(2, 5, 12)
causal = torch.ones(5, 5, dtype=torch.bool).tril()
engine_says, _ = theirs(x, x, x, attn_mask=~causal)
print("agrees with nn.MultiheadAttention:", bool(torch.allclose(mine(x, causal), engine_says, atol=1e-6)))

# %% [markdown] lang="en"
# ## It does not know what order is
#
# Nothing in the formula says where a key stands. Permute the positions of the input, and the output is permuted in the same way:

# %%
order = torch.tensor([3, 0, 4, 1, 2])
with torch.no_grad():
    difference = (mine(x[:, order]) - mine(x)[:, order]).abs().max().item()
number("equivariance", difference, tolerance=100)
assert difference < 1e-5

# %% [markdown] lang="en"
# (The rest is rounding.) "Dog bites man" and "man bites dog" are the same set. So positions are added to the input. The sinusoidal
# encoding (Vaswani and others, 2017) gives each position a vector whose products with others depend only on the distance:

# %%
T, D = 64, 32
position = torch.arange(float(T))[:, None]
rates = torch.exp(-math.log(10000.0) * torch.arange(0.0, D, 2) / D)
encoding = torch.stack([(position * rates).sin(), (position * rates).cos()], 2).reshape(T, D)
products = (encoding @ encoding.T).numpy()
drawn, axes = figure(8, 2.8, panels=2)
axes[0].imshow(encoding.numpy().T, cmap="cividis", aspect="auto")
axes[0].set(xlabel="position", ylabel="feature", title="sinusoidal encoding")
image = axes[1].imshow(products, cmap="cividis")
axes[1].set(xlabel="position", ylabel="position", title="products")
drawn.colorbar(image)
present(
    drawn,
    "Left: the encoding, 32 features over 64 positions, fast waves above and slow ones below. Right: products of positions with each "
    "other, constant along diagonals, largest on the main one.",
    {"distance": [0, 1, 4, 16], "product from position 10": [float(products[10, 10 + s]) for s in (0, 1, 4, 16)],
     "from position 40": [float(products[40, 40 + s]) for s in (0, 1, 4, 16)]},
)

# %% [markdown] lang="en"
# ## A head that learns to look back
#
# Sequences of 12 random symbols, each repeated once: "dgaf… dgaf…". At each place of the second half, the model has to say the next
# symbol, which stands 12 − 1 places back. One layer with positions can learn this; here is what its heads look at.

# %%
LENGTH, SYMBOLS = 12, 8
torch.manual_seed(0)


class Copier(nn.Module):
    def __init__(self, dim=32, heads=2):
        super().__init__()
        self.symbols, self.positions = nn.Embedding(SYMBOLS, dim), nn.Embedding(2 * LENGTH, dim)
        self.attention, self.out = SelfAttention(dim, heads), nn.Linear(dim, SYMBOLS)

    def forward(self, x):
        h = self.symbols(x) + self.positions(torch.arange(x.shape[1]))
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        return self.out(h + self.attention(h, mask))


copier = Copier()
optimizer = torch.optim.Adam(copier.parameters(), lr=3e-3)
losses = []
for _ in range(400):
    once = torch.randint(0, SYMBOLS, (64, LENGTH))
    twice = torch.cat([once, once], 1)
    logits = copier(twice[:, :-1])[:, LENGTH - 1 :]
    loss = nn.functional.cross_entropy(logits.reshape(-1, SYMBOLS), twice[:, LENGTH:].reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
once = torch.randint(0, SYMBOLS, (256, LENGTH))
twice = torch.cat([once, once], 1)
with torch.no_grad():
    right = (copier(twice[:, :-1])[:, LENGTH - 1 :].argmax(-1) == twice[:, LENGTH:]).float().mean().item()
number("copied", right, tolerance=0.1)
maps = copier.attention.weights[0].detach().numpy()

# %%
drawn, axes = figure(8.5, 3, panels=3)
axes[0].plot(losses, marker="")
axes[0].set(xlabel="step", ylabel="cross-entropy", title="training")
for head, panel in enumerate(axes[1:]):
    panel.imshow(maps[head], cmap="cividis", vmin=0, vmax=1)
    panel.set(xlabel="looks at", ylabel="position", title=f"head {head + 1}")
back = [[float(maps[h, t, t - LENGTH + 1]) for t in range(LENGTH - 1, 2 * LENGTH - 1)] for h in range(2)]
present(
    drawn,
    "Left: the loss of copying falls over 400 steps. Right: the weights of the two heads on one sequence; in the lower half they lie on a "
    "line eleven places back.",
    {"head": [1, 2], "mean weight 11 places back, second half": [float(np.mean(b)) for b in back]},
)

# %% [markdown] lang="en"
# {copied:.0%} of the symbols are right. These maps show where the layer looked in this case, where the task leaves it no choice. In general
# they are evidence, not an explanation: other weights can give the same output (Jain and Wallace 2019; Wiegreffe and Pinter 2019 on when
# the objection holds).
#
# ## What it costs
#
# T × T scores per head, forward, and kept for backward: 4 bytes · H · T² of memory, for each layer and each sequence of the batch. The
# scores need not be held, though. A softmax can be computed piece by piece: keep the maximum so far, the sum so far and the result so
# far, and rescale when a larger maximum comes (Milakov and Gimelshein 2018; Rabe and Staats 2021; Dao and others 2022):


# %%
def attention_in_blocks(q, k, v, block=64):
    """As `attention`, without the matrix of scores: at most T x block of it at a time. Plain NumPy."""
    out = np.zeros((len(q), v.shape[1]))
    largest, total = np.full((len(q), 1), -np.inf), np.zeros((len(q), 1))
    for start in range(0, len(k), block):
        scores = q @ k[start : start + block].T / math.sqrt(q.shape[1])
        new = np.maximum(largest, scores.max(1, keepdims=True))
        weights = np.exp(scores - new)
        shrink = np.exp(largest - new)  # what was summed with the old maximum
        out = out * shrink + weights @ v[start : start + block]
        total = total * shrink + weights.sum(1, keepdims=True)
        largest = new
    return out / total


rng = np.random.default_rng(0)
q, k, v = rng.normal(size=(3, 500, 64))
whole, _ = attention(torch.tensor(q), torch.tensor(k), torch.tensor(v))
print("the same:", bool(np.allclose(attention_in_blocks(q, k, v), whole.numpy(), atol=1e-12)))
heads = 12
memory = [[T, 4 * heads * T * T / 2**20, 4 * heads * T * 64 / 2**20] for T in (512, 2048, 8192, 32768)]
table(memory, ["T", "scores, MiB (12 heads)", "in blocks of 64, MiB"])
number("gib", memory[-1][1] / 1024, tolerance=0)

# %% [markdown] lang="en"
# At 32,768 positions the scores of one layer would be {gib:.0f} GiB. The engine's attention works in blocks, forward and backward; its plain
# reference, which does hold the scores, stands in the same file:

# %%
from minidl.kernels.attention import attention as kernel

quote(kernel)

# %% [markdown] lang="en"
# ## Your turn

# %%
from minidl.learn import check


def scaled_dot_product(q, k, v):
    raise NotImplementedError


check("att01", scaled_dot_product)

# %% [markdown] lang="en"
# Also: `att02` (masks, and the row that sees nothing), `att03` (heads).
#
# ## Questions that interviewers ask here
#
# - Why divide by √d, and why not simply normalize q and k?
# - A row of the mask is empty. What happens, and where does it show?
# - How much memory does attention need at 32,768 tokens, and how can it be avoided?
# - Do the weights explain a prediction?
#
# `minidl quiz --topic attention` asks them.
