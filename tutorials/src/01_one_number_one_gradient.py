# %% [markdown] lang="en"
# # 01 · One number, one gradient
#
# A network of a billion parameters is trained with one tool: the derivative of one number, the loss, with respect to each of
# them. This notebook builds that tool from nothing, for single numbers, in some forty lines, and then finds the same lines in
# the engine.
#
# **You need** Python, and the chain rule from school. **Time**: about 40 minutes with the exercises.
# **You will have**: a tape that differentiates any formula, the reason why its order matters, and a small network trained on it.

# %% [markdown] lang="zh"
# # 01 · 从一个数到一个梯度
#
# 训练一个十亿参数的网络，归根结底只靠一件工具：求一个数（损失）对每一个参数的导数。本篇从零造出这件工具：先只处理标量，
# 四十来行代码，然后在引擎里找到与之对应的那几行。
#
# **预备知识**：会 Python，记得中学学过的链式法则。**用时**：连做练习约 40 分钟。
# **学完之后**：你会有一条能对任意算式求导的“带子”(tape)，明白它为什么非讲顺序不可，还用它训练了一个小网络。

# %%
import math

import numpy as np

import minidl
from minidl.learn.show import figure, number, picture, predict, present, quote, table

# %% [markdown] lang="en"
# ## A derivative is a question
#
# *If I move x a little, how much does the result move?* So ask it: move x by h and look. Two ways to ask:
#
# - forward difference: (f(x + h) − f(x)) / h
# - central difference: (f(x + h) − f(x − h)) / 2h
#
# Our function is f(x) = x · sin x, whose derivative we know: sin x + x · cos x.

# %% [markdown] lang="zh"
# ## 导数是一个问句
#
# *x 动一点点，结果会动多少？* 那就直接去问：让 x 移动 h，看结果变了多少。问法有两种：
#
# - 前向差分：(f(x + h) − f(x)) / h
# - 中心差分：(f(x + h) − f(x − h)) / 2h
#
# 取 f(x) = x · sin x，它的导数我们会算：sin x + x · cos x。


# %%
def f(x):
    return x * math.sin(x)


x0 = 2.0
exact = math.sin(x0) + x0 * math.cos(x0)
steps = [10.0**-k for k in range(1, 16)]
forward = [abs((f(x0 + h) - f(x0)) / h - exact) for h in steps]
central = [abs((f(x0 + h) - f(x0 - h)) / (2 * h) - exact) for h in steps]

# %% [markdown] lang="en"
# **Predict.** A smaller h should be better: the definition of the derivative lets h go to 0. Float64 has about 16 digits. Which h
# will be the best one for the central difference? Type your guess in place of `None`.

# %% [markdown] lang="zh"
# **先猜再看。** 按导数的定义，h 应当趋于 0，似乎越小越好；而 float64 大约有 16 位有效数字。对中心差分来说，哪个 h 最好？
# 把下面的 `None` 换成你的猜测。

# %%
guess = None
best = steps[int(np.argmin(central))]
predict("best h of the central difference", guess, best)

# %%
drawn, axes = figure(6, 3.2)
axes.loglog(steps, forward, label="forward")
axes.loglog(steps, central, label="central")
axes.set(xlabel="h", ylabel="|error|", title="error of a difference quotient, x sin x at 2")
axes.legend()
present(
    drawn,
    "Error of the forward and the central difference against h on logarithmic axes: both fall and then rise again, a V.",
    {"h": steps[::2], "forward": forward[::2], "central": central[::2]},
)
number("best_h", best, tolerance=0)
number("best_central", min(central), tolerance=1.0)
number("best_forward", min(forward), tolerance=1.0)

# %% [markdown] lang="en"
# Both curves are a V. On the right the formula is to blame: what it leaves out shrinks with h (with h² for the central one,
# whose two errors of first order cancel). On the left the machine is to blame: f(x + h) and f(x − h) agree in nearly all their
# digits, and the few that differ are divided by a tiny h. The best central step is {best_h:.0e}, with an error of
# {best_central:.0e}; the forward difference never gets below {best_forward:.0e}.
#
# Two consequences stay with us for the whole course:
#
# 1. Differences are the judge, not the method. They need one or two evaluations of the loss *per parameter*: for a million
#    parameters a million passes, for one step.
# 2. As a judge they are excellent, if they use float64 and a sensible h. Every operation of this engine is checked by them.

# %% [markdown] lang="zh"
# 两条曲线都呈 V 形。右半边怪公式：被略去的项随 h 减小（中心差分的一阶误差互相抵消，所以随 h² 减小）。左半边怪机器：
# f(x + h) 与 f(x − h) 几乎每一位都相同，剩下那几位不同的数字再除以极小的 h，误差就被放大了。中心差分的最佳步长是 {best_h:.0e},
# 误差为 {best_central:.0e}；前向差分的误差怎么也降不到 {best_forward:.0e} 以下。
#
# 由此得到两条贯穿全部教程的结论：
#
# 1. 差分是裁判，不是干活的。它*每个参数*都要重算一两次损失：一百万个参数，走一步就要算一百万遍。
# 2. 但作为裁判它极好用，前提是用 float64，步长取得合适。本引擎的每个运算都要经过它的检验。

# %% [markdown] lang="en"
# ## All derivatives in one backward pass
#
# Take L = (a·b + c)², with a = 2, b = −3, c = 10, and write each step down as it is computed:
#
# | step | value | local derivatives |
# |---|---|---|
# | p = a·b | −6 | ∂p/∂a = b, ∂p/∂b = a |
# | s = p + c | 4 | ∂s/∂p = 1, ∂s/∂c = 1 |
# | L = s² | 16 | ∂L/∂s = 2s |
#
# Now read the table from the bottom to the top. ∂L/∂s = 8. The chain rule hands it on: ∂L/∂p = 8 · 1, ∂L/∂c = 8 · 1, and from p:
# ∂L/∂a = 8 · b = −24, ∂L/∂b = 8 · a = 16. One walk back gave all three, for about the price of the walk forward. This is
# *reverse-mode differentiation*; in networks it is called backpropagation (Linnainmaa 1970; Rumelhart, Hinton and Williams 1986).
#
# What has to be remembered per step: its inputs, and how to turn the gradient of its result into gradients of its inputs. That is
# a class.

# %% [markdown] lang="zh"
# ## 倒着走一遍，得到全部导数
#
# 设 L = (a·b + c)²，其中 a = 2, b = −3, c = 10。每算一步就记一行：
#
# | 步骤 | 值 | 局部导数 |
# |---|---|---|
# | p = a·b | −6 | ∂p/∂a = b, ∂p/∂b = a |
# | s = p + c | 4 | ∂s/∂p = 1, ∂s/∂c = 1 |
# | L = s² | 16 | ∂L/∂s = 2s |
#
# 现在从下往上读这张表。∂L/∂s = 8。链式法则把它往上传：∂L/∂p = 8 · 1, ∂L/∂c = 8 · 1；再经过 p 得到 ∂L/∂a = 8 · b = −24,
# ∂L/∂b = 8 · a = 16。倒着走一遍，三个导数就都有了，代价与正着算一遍差不多。这就是*反向模式求导*，用在网络上就叫反向传播
# (Linnainmaa 1970; Rumelhart, Hinton, Williams 1986)。
#
# 每一步需要记住的只有两样：它的输入，以及怎样把结果的梯度变成各输入的梯度。写成一个类正好。


# %%
class Value:
    """A number that remembers what it was computed from."""

    count = 0

    def __init__(self, data, parents=(), pull=None, name=""):
        self.data, self.grad, self.name = float(data), 0.0, name
        self.parents, self.pull = parents, pull  # pull(g): the parents' shares of the gradient g of this number
        Value.count += 1
        self.seq = Value.count  # later numbers have larger ones

    def __add__(self, other):
        other = as_value(other)
        return Value(self.data + other.data, (self, other), lambda g: (g, g), "+")

    def __mul__(self, other):
        other = as_value(other)
        return Value(self.data * other.data, (self, other), lambda g: (g * other.data, g * self.data), "·")

    def __pow__(self, n):
        return Value(self.data**n, (self,), lambda g: (g * n * self.data ** (n - 1),), f"^{n}")

    def tanh(self):
        t = math.tanh(self.data)
        return Value(t, (self,), lambda g: (g * (1 - t * t),), "tanh")

    __radd__, __rmul__ = __add__, __mul__

    def backward(self):
        """Put d self / d x into x.grad, for every x that self was computed from."""
        reached = {self}
        stack = [self]
        while stack:  # no recursion: a long chain would exhaust Python's stack
            for parent in stack.pop().parents:
                if parent not in reached:
                    reached.add(parent)
                    stack.append(parent)
        self.grad = 1.0
        for node in sorted(reached, key=lambda node: node.seq, reverse=True):
            if node.pull:
                for parent, share in zip(node.parents, node.pull(node.grad), strict=True):
                    parent.grad += share


def as_value(x):
    return x if isinstance(x, Value) else Value(x, name=f"{x:g}")


a, b, c = Value(2, name="a"), Value(-3, name="b"), Value(10, name="c")
loss = (a * b + c) ** 2
loss.backward()
table([[v.name, v.data, v.grad] for v in (a, b, c)], ["", "value", "gradient"])


# %%
def draw(result):
    """The tape of a number: values flow to the right, gradients back to the left."""
    depth, order = {}, []

    def visit(node):
        if node not in depth:
            depth[node] = 1 + max((visit(parent) for parent in node.parents), default=-1)
            order.append(node)
        return depth[node]

    visit(result)
    rows = {}
    place = {}
    for node in order:
        row = rows.setdefault(depth[node], [])
        place[node] = (depth[node], -len(row) - 0.35 * (depth[node] % 2))
        row.append(node)
    drawn, axes = figure(8, 3)
    for node in order:
        for parent in node.parents:
            axes.annotate("", place[node], place[parent], arrowprops={"arrowstyle": "->", "color": "gray", "shrinkA": 28, "shrinkB": 28})
        text = f"{node.name}\nvalue {node.data:g}\ngrad {node.grad:g}"
        axes.text(*place[node], text, ha="center", va="center", bbox={"boxstyle": "round", "fc": "#fdf0d5" if not node.parents else "#e8eef7"})
    axes.set(xlim=(-0.6, max(rows) + 0.6), ylim=(min(y for _, y in place.values()) - 0.6, 0.6))
    axes.axis("off")
    return drawn


present(
    draw(loss),
    "The tape of (a·b + c)²: a and b lead to a product, it and c to a sum, the sum to its square; each box has its value and gradient.",
)

# %% [markdown] lang="en"
# ## Why the order matters
#
# A number that is used twice gets a share of the gradient from each use, and its own gradient is complete only when *all* of them
# have arrived. Handing it on earlier hands on too little. Take a diamond: d = x·x (used twice below), and L = d + d·d.
#
# **Predict.** At x = 2: d = 4, so dL/dx = (2d + 1)·2x = 36. Someone walks the tape breadth-first from L instead, and handles each
# number once, when it is first met. What will they get for dL/dx?

# %% [markdown] lang="zh"
# ## 为什么顺序很要紧
#
# 一个数若被用了两次，每次使用都会送回一份梯度；只有*全部*到齐，它自己的梯度才算完整。提早往下传，传下去的就少了。看一个菱形：
# d = x·x，下面用到它两回：L = d + d·d。
#
# **先猜再看。** x = 2 时 d = 4，所以 dL/dx = (2d + 1)·2x = 36。若有人从 L 出发按广度优先走这条带子，每个数只在第一次碰到时处理一次，
# 他算出的 dL/dx 会是多少？


# %%
def hasty_backward(result):
    """Wrong: a number is handled when it is first met, not when its gradient is complete."""
    result.grad = 1.0
    queue, met = [result], {result}
    for node in queue:
        if node.pull:
            for parent, share in zip(node.parents, node.pull(node.grad), strict=True):
                parent.grad += share
                if parent not in met:
                    met.add(parent)
                    queue.append(parent)


def diamond():
    x = Value(2, name="x")
    d = x * x
    middle = d * d
    return x, d + middle


guess = None
x, L = diamond()
hasty_backward(L)
hasty = x.grad
predict("the hasty dL/dx", guess, hasty)
x, L = diamond()
L.backward()
number("hasty", hasty)
number("right", x.grad)

# %% [markdown] lang="en"
# The hasty walk gets {hasty:g} instead of {right:g}: d was handled after its first share (the 1 of "+ d") had come, and what came
# through d·d later never went further. No exception, no NaN, only a network that trains a little worse than it should: the worst
# kind of bug.
#
# The cure is to handle a number after everything that uses it: a *topological order*. Our `Value` gets it for nothing: whatever uses
# a number was made after it, so it is enough to number them as they are made and to go by falling number. The engine does the same.

# %% [markdown] lang="zh"
# 心急的走法得到 {hasty:g}，而正确答案是 {right:g}：d 刚收到第一份梯度（"+ d" 送来的 1）就被处理了，后来经 d·d 到达的那份再也没能往下传。
# 没有异常，没有 NaN，只是网络训练得比应有的差一些：这是最难缠的一种 bug。
#
# 解决办法是：一个数要等所有用到它的运算都处理完再处理，即*拓扑序*。我们的 `Value` 不费力气就有了这个顺序：用到某个数的运算必定在它之后产生，
# 所以只要在产生时编号，再按编号从大到小处理即可。引擎也是这样做的。

# %% [markdown] lang="en"
# ## Now train something
#
# A network with 2 inputs, 8 hidden tanh units and 1 output, on two interleaved half circles. Each weight is a `Value`; one step of
# training is: forward, `backward`, move each weight against its gradient.

# %% [markdown] lang="zh"
# ## 拿它训练点东西
#
# 网络有 2 个输入、8 个 tanh 隐藏单元、1 个输出，数据是两个交错的半圆。每个权重都是一个 `Value`；训练一步就是：前向计算，`backward`,
# 再让每个权重逆着梯度挪动一点。

# %%
minidl.manual_seed(0)
points, labels = (t.numpy() for t in minidl.datasets.two_moons(60, noise=0.1, seed=0).tensors)
signs = np.where(labels == 1, 1.0, -1.0)
rng = np.random.default_rng(0)
hidden = [[Value(rng.normal()), Value(rng.normal()), Value(0)] for _ in range(8)]
output = [Value(rng.normal() / math.sqrt(8)) for _ in range(8)] + [Value(0)]
weights = [w for unit in hidden for w in unit] + output


def network(point):
    states = [(u * float(point[0]) + v * float(point[1]) + bias).tanh() for u, v, bias in hidden]
    return sum((w * h for w, h in zip(output, states, strict=False)), output[-1]).tanh()


losses = []
for _ in range(120):
    loss = sum((network(p) + -s) ** 2 for p, s in zip(points, signs, strict=True)) * (1 / len(points))
    for w in weights:
        w.grad = 0.0  # gradients add up: those of the last step would stay in
    loss.backward()
    for w in weights:
        w.data -= 0.3 * w.grad
    losses.append(loss.data)

right = sum(network(p).data * s > 0 for p, s in zip(points, signs, strict=True))
number("first_loss", losses[0])
number("last_loss", losses[-1], tolerance=0.3)
number("correct", right / len(points))

# %%
drawn, axes = figure(8, 3.2, panels=2)
axes[0].plot(losses, marker="")
axes[0].set(xlabel="step", ylabel="mean squared error", yscale="log", title="training")
grid = np.linspace(-1.6, 2.6, 45)
field = [[network((x, y)).data for x in grid] for y in grid]
axes[1].contourf(grid, grid, field, levels=np.linspace(-1, 1, 9), cmap="cividis", alpha=0.8)
for sign, marker in ((1, "o"), (-1, "^")):
    axes[1].plot(*points[signs == sign].T, marker, color="black", mfc="white", ls="")
axes[1].set(xlim=(-1.6, 2.6), ylim=(-1.2, 1.7), title="output of the network")
present(
    drawn,
    "Left: the loss falls over 120 steps. Right: the network's output over the plane, with the two half circles on either side of its boundary.",
    {"step": [0, 30, 60, 90, 119], "loss": [losses[i] for i in (0, 30, 60, 90, 119)]},
)

# %% [markdown] lang="en"
# The loss went from {first_loss:.2f} to {last_loss:.2f}, and {correct:.0%} of the points are on their side. Each step made a tape of
# several thousand numbers, walked it once, and threw it away: the graph is made anew by every forward pass. That is all that is
# meant by a *dynamic* graph.

# %% [markdown] lang="zh"
# 损失从 {first_loss:.2f} 降到 {last_loss:.2f}，{correct:.0%} 的点被分到了正确的一侧。每一步都新造一条几千个数的带子，倒着走一遍，然后扔掉：
# 图是每次前向计算现造的。所谓*动态图*，说的就是这件事。

# %% [markdown] lang="en"
# ## The same in the engine
#
# minidl does this with arrays in place of single numbers. An operation is a class whose `backward` is the `pull` of above: it gets the
# gradient of its result, and names what it needs. This is multiplication:

# %% [markdown] lang="zh"
# ## 引擎里的同一件事
#
# minidl 用数组代替单个的数，做的是同样的事。一个运算就是一个类，它的 `backward` 相当于上面的 `pull`：拿到结果的梯度，并在参数里写明自己需要什么。
# 乘法是这样写的：

# %%
from minidl.autograd import engine
from minidl.ops import arithmetic, trigonometric

quote(arithmetic.Mul)
quote(trigonometric.Tanh)

# %% [markdown] lang="en"
# And this collects what has to be walked; `run`, above it in the same file, sorts by falling number (`by_sequence`), asks each rule,
# and adds up what arrives, as `Value.backward` does.

# %% [markdown] lang="zh"
# 下面这段收集需要走到的节点；同一文件中它上面的 `run` 按编号从大到小排序（`by_sequence`），逐个调用规则，把到达的梯度加起来，与 `Value.backward` 如出一辙。

# %%
quote(engine._reach)

# %% [markdown] lang="en"
# The judge has the last word: the same diamond, by our tape, by the engine, and by central differences.

# %% [markdown] lang="zh"
# 最后请裁判出场：同一个菱形，分别用我们的带子、引擎和中心差分来算。

# %%
t = minidl.tensor(2.0, dtype=minidl.float64, requires_grad=True)
d = t * t
L = d * d + d
L.backward()
h = 1e-5
by_difference = (((2 + h) ** 4 + (2 + h) ** 2) - ((2 - h) ** 4 + (2 - h) ** 2)) / (2 * h)
table([["our tape", x.grad], ["the engine", t.grad.item()], ["central difference", by_difference]], ["", "dL/dx"])
picture(minidl.autograd.graph.draw(L, names={"x": t}).svg, "The engine's own drawing of the diamond: x is used twice by the first product, which is used by the second product and by the sum.")

# %% [markdown] lang="en"
# ## Your turn
#
# The exercises of the bank can be done here or in an editor (`minidl learn`): the verdict is the same. Fill in the function and run
# the cell; it says which misconception it recognizes.

# %% [markdown] lang="zh"
# ## 轮到你了
#
# 题库里的练习既可以在这里做，也可以在编辑器里做（`minidl learn`），判分方式完全一样。补全函数后运行，它会指出你的答案符合哪一种常见误解。

# %%
from minidl.learn import check


def backward_order(root):
    """The nodes that lead to `root`, each after everything that uses it; node.inputs are what a node was computed from."""
    raise NotImplementedError


check("ag02", backward_order)

# %% [markdown] lang="en"
# More of the same kind: `ag01` (your own `Value`), `ag03` (a number that is used k times), `ag08` (write the judge).
#
# ## Questions that interviewers ask here
#
# - Why must gradients be set to zero before each step, and when is it useful not to?
# - What does the tape keep in memory, and what frees it?
# - Why backward rather than forward, if a function has many inputs and one output? And the other way round?
#
# `minidl quiz --topic autograd` asks them, with answers to compare with.
#
# **Next**: 02, the same for arrays, where shapes begin to matter.

# %% [markdown] lang="zh"
# 同类练习还有：`ag01`（自己写一个 `Value`），`ag03`（一个数用了 k 次），`ag08`（自己写裁判）。
#
# ## 面试官在这里会问
#
# - 为什么每一步之前都要把梯度清零？什么时候反而故意不清？
# - 带子在内存里留着什么？什么时候释放？
# - 输入多、输出只有一个时，为什么反向比前向划算？反过来呢？
#
# `minidl quiz --topic autograd` 会问这些问题，并给出可以对照的答案。
#
# **下一篇**：02，把数换成数组，形状开始变得重要。
