# %% [markdown] lang="en"
# # 06 · Initialization, 50 layers deep
#
# Before the first step of training, a network is only random numbers. Which ones decides whether there will be a second step: too
# small, and a signal dies on its way through the layers; too large, and it overflows; and what happens to the signal going forward
# happens to the gradient coming back.
#
# **You need** 05 (a network and its training). **Time**: about 45 minutes with the exercises.
# **You will have**: the one calculation behind Xavier's and He's formulas, the reason why there are two, a probe that shows the
# state of any network at a glance, and the measured answer to a favourite interview question.

# %% [markdown] lang="zh"
# # 06 · 初始化：深到 50 层
#
# 训练还没走第一步时，网络里只有随机数。用怎样的随机数，决定了还有没有第二步：太小，信号一层层衰减到消失；太大，信号一层层放大到溢出；
# 前向的信号会遭遇的，反向的梯度同样会遭遇。
#
# **预备知识**：05（网络与训练循环）。**用时**：连做练习约 45 分钟。
# **学完之后**：你会做 Xavier 与 He 两个公式背后的那一步推导，知道为什么要有两个，会用探针一眼看清任何网络的状态，
# 并且对一道常见的面试题有实测的答案。

# %%
import numpy as np

import minidl as torch
from minidl import nn
from minidl.learn.show import figure, number, predict, present, quote

WIDTH, DEPTH, BATCH = 256, 50, 512
torch.manual_seed(0)
inputs = torch.randn(BATCH, WIDTH)

# %% [markdown] lang="en"
# ## What one layer does to the size of a signal
#
# One unit computes y = w₁x₁ + … + wₙxₙ, with n = fan_in. If the weights are independent of the inputs, with mean 0 and variance
# Var(w), then the mean of y² is
#
# E[y²] = n · Var(w) · E[x²].
#
# So each layer multiplies E[x²] by n · Var(w), and 50 layers multiply it by (n · Var(w))⁵⁰. Only a factor of 1 survives that:
# **Var(w) = 1/n** keeps the size of the signal in a linear network. (LeCun and others, 1998.)
#
# The activation then changes the size again. ReLU sets the negative half to 0; y is symmetric about 0, so exactly half of E[y²]
# is lost, each layer. To make up for it: **Var(w) = 2/n**. (He and others, 2015.) The criterion is the activation, not the depth.
#
# **Predict.** 50 ReLU layers of width 256, inputs of size (root mean square) 1, weights with variance 1/256. What is the root mean
# square at layer 50?

# %% [markdown] lang="zh"
# ## 一层会怎样改变信号的大小
#
# 一个单元计算 y = w₁x₁ + … + wₙxₙ, n 即 fan_in。设权重与输入独立，均值为 0，方差为 Var(w)，那么 y² 的均值是
#
# E[y²] = n · Var(w) · E[x²]。
#
# 也就是说，每层把 E[x²] 乘上 n · Var(w), 50 层就乘上它的 50 次方。只有因子为 1 才经得起这样连乘：在线性网络里，
# **Var(w) = 1/n** 能让信号大小保持不变（LeCun 等，1998）。
#
# 激活函数又会改变一次大小。ReLU 把负的一半置零；y 关于 0 对称，所以每层恰好丢掉 E[y²] 的一半。要补回来，就取 **Var(w) = 2/n**（He 等，2015）。
# 可见选哪一个看的是激活函数，而不是网络深浅。
#
# **先猜再看。** 50 层 ReLU，宽 256，输入的均方根为 1，权重方差取 1/256。到第 50 层，均方根是多少？


# %%
def deep(activation, std):
    """DEPTH linear layers without bias, each followed by the activation; weights normal with standard deviation `std`."""
    layers = []
    for _ in range(DEPTH):
        linear = nn.Linear(WIDTH, WIDTH, bias=False)
        nn.init.normal_(linear.weight, std=std)
        layers += [linear, activation()]
    return nn.Sequential(*layers)


def sizes(model, x):
    """The root mean square after each activation."""
    found = []
    with torch.no_grad():
        for layer in model:
            x = layer(x)
            if not isinstance(layer, nn.Linear):
                found.append(x.square().mean().sqrt().item())
    return found


guess = None
torch.manual_seed(1)
relu_with_1_over_n = sizes(deep(nn.ReLU, WIDTH**-0.5), inputs)[-1]
predict("root mean square at layer 50", guess, relu_with_1_over_n)
number("relu_xavier", relu_with_1_over_n, tolerance=2.0)

# %% [markdown] lang="en"
# Fifty halvings of the mean square: 2⁻⁵⁰ = 9e-16, whose root is 3e-8; measured {relu_xavier:.1e}. Nothing has overflowed and nothing
# is exactly zero; the network has only stopped telling its inputs apart. All the schemes side by side:

# %% [markdown] lang="zh"
# 均方值减半 50 次：2⁻⁵⁰ = 9e-16，开方得 3e-8；实测 {relu_xavier:.1e}。既没有溢出，也没有哪个数恰好为零，只是网络已经分不清不同的输入了。
# 把各种方案放在一起看：

# %%
schemes = {
    "He, 2/n": (2 / WIDTH) ** 0.5,
    "1/n": (1 / WIDTH) ** 0.5,
    "std 0.01": 0.01,
    "std 0.2": 0.2,
}
activations = {"ReLU": nn.ReLU, "tanh": nn.Tanh, "none": nn.Identity}
measured = {}
for name, activation in activations.items():
    for scheme, std in schemes.items():
        torch.manual_seed(1)
        measured[name, scheme] = sizes(deep(activation, std), inputs)

drawn, axes = figure(9, 3.2, panels=3, sharey=True)
for panel, name in zip(axes, activations, strict=True):
    for scheme in schemes:
        panel.plot(range(1, DEPTH + 1), measured[name, scheme], label=scheme, markevery=7)
    panel.set(title=f"activation: {name}", xlabel="layer", yscale="log", ylim=(1e-14, 1e14))
axes[0].set_ylabel("root mean square")
axes[0].legend(fontsize=8)
present(
    drawn,
    "Size of the signal through 50 layers, on a logarithmic axis. With ReLU only He's scheme stays level; with tanh 1/n falls slowly "
    "and He settles at a constant; without an activation 1/n stays level and He grows; std 0.01 dies everywhere.",
    {
        "scheme": list(schemes),
        **{f"{name}, layer 50": [measured[name, scheme][-1] for scheme in schemes] for name in activations},
    },
)
number("relu_he", measured["ReLU", "He, 2/n"][-1], tolerance=2.0)
number("tanh_he", measured["tanh", "He, 2/n"][-1], tolerance=0.2)
number("tanh_xavier", measured["tanh", "1/n"][-1], tolerance=0.5)

# %% [markdown] lang="en"
# Read the middle panel twice. With tanh, He's scheme does not explode: tanh cannot exceed 1. It settles at {tanh_he:.2f}, which looks
# healthy, and is not: units near ±1 have a derivative near 0, so it is the *gradient* that suffers. The 1/n scheme falls slowly,
# to {tanh_xavier:.2f}, since tanh shrinks whatever is not very small. A level line of sizes is therefore not enough; look at both directions.

# %% [markdown] lang="zh"
# 中间那幅要多看一眼。用 tanh 时，He 方案不会爆炸，因为 tanh 不超过 1；它稳定在 {tanh_he:.2f}，看着健康，其实不然：接近 ±1 的单元导数接近 0,
# 吃亏的是*梯度*。1/n 方案则缓慢下降到 {tanh_xavier:.2f}，因为只要数值不是很小，tanh 就会把它压小一些。所以光看激活的大小是否走平还不够，两个方向都要看。

# %% [markdown] lang="en"
# ## And backward
#
# The gradient goes through the same weights, transposed: each layer multiplies its mean square by fan_out · Var(w) (and by the
# derivative of the activation). Forward asks for 1/fan_in, backward for 1/fan_out; in a layer that is not square both cannot be
# had. Glorot and Bengio (2010) took the mean of the two: **Var(w) = 2/(fan_in + fan_out)**. That is "Xavier". The often quoted 1/n is
# the same only where fan_in = fan_out.

# %% [markdown] lang="zh"
# ## 反方向
#
# 梯度经过的是同一批权重的转置：每层把它的均方值乘上 fan_out · Var(w)（再乘激活函数的导数）。前向要 1/fan_in，反向要 1/fan_out，层不是方阵时两者不可兼得。
# Glorot 与 Bengio(2010)取了折中：**Var(w) = 2/(fan_in + fan_out)**，这才是 "Xavier"。常被引用的 1/n 只在 fan_in = fan_out 时与它相等。

# %%
quote(nn.init.xavier_normal_)
quote(nn.init.kaiming_normal_)


# %%
def gradient_sizes(model, x):
    """The root mean square of the gradient of each layer's weights, for a random linear function of the output."""
    for p in model.parameters():
        p.grad = None
    torch.manual_seed(3)
    out = model(x)
    (out * torch.randn(*out.shape)).sum().backward()
    return [p.grad.square().mean().sqrt().item() for p in model.parameters()]


drawn, axes = figure(7, 3.2, panels=2)
rows = {}
for panel, (name, activation) in zip(axes, [("ReLU", nn.ReLU), ("tanh", nn.Tanh)], strict=True):
    for scheme in ("He, 2/n", "1/n"):
        torch.manual_seed(1)
        found = gradient_sizes(deep(activation, schemes[scheme]), inputs)
        panel.plot(range(1, DEPTH + 1), found, label=scheme, markevery=7)
        rows[name, scheme] = found
    panel.set(title=f"activation: {name}", xlabel="layer", yscale="log")
axes[0].set_ylabel("rms of the weights' gradient")
axes[0].legend()
present(
    drawn,
    "Gradient of the weights by layer. ReLU: level with He's scheme; with 1/n level too, seven powers of ten lower. tanh: growing "
    "tenfold towards the input with He's scheme, level with 1/n.",
    {
        "activation, scheme": [f"{name}, {scheme}" for name, scheme in rows],
        "layer 1": [found[0] for found in rows.values()],
        "layer 50": [found[-1] for found in rows.values()],
    },
)

# %% [markdown] lang="en"
# Look at ReLU with 1/n: the curve is level, and the network is as good as dead. The gradient of a weight is what comes in times what
# comes back; going up, one shrinks by √2 per layer, going down the other does, and the product is the same tiny number everywhere. So
# *level* is not enough either: look at the size. With tanh it is He's scheme that fails backward, as the saturated units foretold.

# %% [markdown] lang="zh"
# 注意 ReLU 配 1/n 的那条线：它是平的，网络却等于死了。权重的梯度 = 传进来的激活 × 传回来的梯度：越往上激活每层缩小 √2 倍，越往下梯度每层缩小 √2 倍，
# 乘积在每一层都是同一个极小的数。所以光看*平不平*也不够，还要看大小。而用 tanh 时，反方向出问题的正是 He 方案，饱和的单元早已预示了这一点。

# %% [markdown] lang="en"
# ## Does momentum help?
#
# A statement that circulates among interview answers: *momentum prevents vanishing gradients, so it is part of initialization.*
# Momentum is a rule for what to do with a gradient. If the gradient is 1e-20, its running mean is 1e-20 too. Twenty hidden
# ReLU layers on digits, 600 steps, with and without momentum:
#
# **Predict** the test accuracy with std 0.01 and momentum 0.9 (ten classes).

# %% [markdown] lang="zh"
# ## 动量能救吗？
#
# 面试答案里流传着一种说法：*动量可以防止梯度消失，所以属于初始化方法。* 其实动量只规定拿到梯度之后怎么用。梯度若是 1e-20，它的滑动平均也还是 1e-20。
# 用 20 个 ReLU 隐藏层训练手写数字，走 600 步，有动量与没有动量各一次：
#
# **先猜再看**：标准差 0.01，动量 0.9，十个类别，测试准确率会是多少？

# %%
splits = {name: torch.datasets.digits(name, 0).tensors for name in ("train", "test")}
train_x, train_y = splits["train"]
test_x, test_y = splits["test"]


def network(std_of):
    layers, width = [nn.Flatten()], 64
    for _ in range(20):
        linear = nn.Linear(width, 64)
        nn.init.normal_(linear.weight, std=std_of(width))
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
        width = 64
    return nn.Sequential(*layers, nn.Linear(64, 10))


def accuracy_after_training(std_of, momentum, steps=600):
    torch.manual_seed(0)
    model = network(std_of)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=momentum)
    order = np.random.default_rng(0)
    for _ in range(steps):
        rows = torch.tensor(order.integers(0, len(train_x), 64))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(train_x[rows]), train_y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        return (model(test_x).argmax(1) == test_y).float().mean().item()


starts = {"std 0.01": lambda n: 0.01, "He": lambda n: (2 / n) ** 0.5}
results = {(start, m): accuracy_after_training(starts[start], m) for start in starts for m in (0.0, 0.9)}
guess = None
predict("accuracy with std 0.01 and momentum", guess, results["std 0.01", 0.9])
number("small_plain", results["std 0.01", 0.0], tolerance=0.4)
number("small_momentum", results["std 0.01", 0.9], tolerance=0.4)
number("he_plain", results["He", 0.0], tolerance=0.05)
number("he_momentum", results["He", 0.9], tolerance=0.05)

# %%
drawn, axes = figure(6, 2.8)
for k, momentum in enumerate((0.0, 0.9)):
    heights = [results[start, momentum] for start in starts]
    bars = axes.bar(np.arange(2) + 0.38 * k, heights, 0.36, label=f"momentum {momentum:g}", hatch=["", "//"][k], edgecolor="white")
    axes.bar_label(bars, fmt="%.3f")
axes.axhline(0.1, color="gray", lw=1, ls=":", marker="")
axes.set(xticks=[0.19, 1.19], xticklabels=starts, ylabel="test accuracy", ylim=(0, 1.12), title="20 hidden layers, digits, 600 steps")
axes.legend(loc="upper left")
present(
    drawn,
    "Test accuracy by initialization and momentum: with std 0.01 both bars stand at chance, with He's scheme both are high.",
    {
        "initialization": list(starts),
        "without momentum": [results[s, 0.0] for s in starts],
        "momentum 0.9": [results[s, 0.9] for s in starts],
    },
)

# %% [markdown] lang="en"
# With the small start: {small_plain:.3f} without and {small_momentum:.3f} with momentum, which is chance. With He's: {he_plain:.3f} and
# {he_momentum:.3f}. Momentum speeds up a start that is good; it does not create a gradient. (Sutskever and others, 2013, say the
# same: both matter.) `minidl demo momentum-vs-init` repeats it with other seeds.
#
# ## A probe for any network
#
# What was measured by hand above can hang on any model. The picture below is what to look at *before* training something deep: one
# row per layer.

# %% [markdown] lang="zh"
# 小初始化：不用动量 {small_plain:.3f}，用动量 {small_momentum:.3f}，都等于瞎猜。He 初始化：分别是 {he_plain:.3f} 和 {he_momentum:.3f}。
# 起点好时，动量能让训练更快；但它变不出不存在的梯度（Sutskever 等，2013 的结论也是：两样都重要）。换随机种子重做一遍：`minidl demo momentum-vs-init`。
#
# ## 可以挂到任何网络上的探针
#
# 前面手工量的东西，可以挂到任何模型上自动量。训练深层网络*之前*，先看下面这样一张图：一行是一层。

# %%
from minidl.probes import Probe

torch.manual_seed(0)
model = network(lambda n: (2 / n) ** 0.5)
with Probe(model) as probe:
    nn.functional.cross_entropy(model(train_x[:128]), train_y[:128]).backward()
print(probe.table())

# %% [markdown] lang="en"
# The loss at the start is a check of its own: a network that knows nothing should say so, with a cross-entropy near ln 10 = 2.303.

# %% [markdown] lang="zh"
# 起始损失本身也是一项检查：一个什么都不知道的网络，交叉熵应当接近 ln 10 = 2.303。

# %%
with torch.no_grad():
    number("loss_at_start", nn.functional.cross_entropy(model(train_x), train_y).item(), tolerance=0.2)

# %% [markdown] lang="en"
# Here it is {loss_at_start:.2f}. A value far above would mean that the last layer starts too large: confident, and wrong.
#
# ## Your turn

# %% [markdown] lang="zh"
# 这里是 {loss_at_start:.2f}。若远大于 ln 10，说明最后一层起始值太大：网络还什么都没学，就已经满怀信心地答错了。
#
# ## 轮到你了

# %%
from minidl.learn import check


def xavier_normal(fan_in, fan_out, rng):
    raise NotImplementedError


check("init02", xavier_normal)

# %% [markdown] lang="en"
# Also: `init01` (fan_in and fan_out, of convolutions too), `init03` (He's scheme and gains), `init05` (the probe of 50 layers).
#
# ## Questions that interviewers ask here
#
# - He or Xavier: what decides? ("Deep networks" is the wrong answer.)
# - Where does the 2 in 2/fan_in come from? What is it for GELU?
# - What is left of the problem in a network with residual connections and normalization?
# - May weights ever start at zero?
#
# `minidl quiz --topic initialization` asks them.

# %% [markdown] lang="zh"
# 还有：`init01`（fan_in 与 fan_out，包括卷积），`init03`（He 方案与增益 gain），`init05`（50 层探针）。
#
# ## 面试官在这里会问
#
# - He 还是 Xavier，由什么决定？（“深层网络用 He” 是错误答案。）
# - 2/fan_in 里的 2 从何而来？换成 GELU 呢？
# - 有了残差连接和归一化，这个问题还剩下多少？
# - 权重什么时候可以从零开始？
#
# `minidl quiz --topic initialization` 会问这些问题。
