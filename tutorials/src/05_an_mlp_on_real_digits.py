# %% [markdown] lang="en"
# # 05 · An MLP on real digits
#
# A multilayer perceptron, the plainest network there is, and the loop that trains every network: forward, loss, backward, step. The
# data are 1,797 handwritten digits of 8 × 8 pixels. Around the loop stand the checks that tell a working program from one that only
# runs: what the loss must be before training, whether the network can learn one batch by heart, and what it still gets wrong.
#
# **You need** 01 and 02 (gradients, shapes). **Time**: about 40 minutes with the exercises.
# **You will have**: a layer and a loss of your own beside the engine's, a training loop, three checks for any training program, and a
# file that carries the network to another machine.

# %% [markdown] lang="zh"
# # 05 · 第一个网络：用 MLP 认手写数字
#
# 多层感知机（MLP）是最朴素的网络，而训练它的循环也是训练一切网络的循环：前向，损失，反向，更新。数据是 1797 张 8 × 8 的手写数字。
# 循环之外还要有几项检查，才分得清“真的在学”和“只是没报错”：训练前的损失应该是多少，能否把一个批次背下来，最后还错在哪里。
#
# **预备知识**：01 与 02（梯度，形状）。**用时**：连做练习约 40 分钟。
# **学完之后**：你会亲手写出一个层和一个损失并与引擎对照，有一个训练循环，有三项适用于任何训练程序的检查，还有一个能把网络带到别的机器上的文件。

# %%
import math

import numpy as np

import minidl as torch
from minidl import nn
from minidl.learn.show import figure, number, predict, present, quote, table

splits = {name: torch.datasets.digits(name, seed=0).tensors for name in ("train", "val", "test")}
train_x, train_y = splits["train"]
test_x, test_y = splits["test"]
table([[name, len(y), str(tuple(x.shape)), str(x.dtype)] for name, (x, y) in splits.items()], ["split", "digits", "shape", "dtype"])

# %%
drawn, axes = figure(8, 1.5, panels=10)
for panel, image, label in zip(axes, train_x.numpy(), train_y.numpy(), strict=False):
    panel.imshow(image[0], cmap="gray_r")
    panel.set_title(str(label))
    panel.axis("off")
present(drawn, f"Ten training images of 8 by 8 pixels with their labels: {', '.join(str(y) for y in train_y.numpy()[:10])}.")

# %% [markdown] lang="en"
# Three parts, with three purposes. The training set is learned from; the validation set chooses (how long, which learning rate); the
# test set is looked at once, at the end. A number that was chosen on the test set says nothing about new digits.
#
# ## A layer
#
# A linear layer is y = x Wᵀ + b: B images of 64 pixels become B rows of scores. As a `Module`, it keeps its tensors as parameters, so
# that an optimizer can find them.

# %% [markdown] lang="zh"
# 三份数据各有用途：训练集用来学；验证集用来做选择（练多久，学习率取多少）；测试集只在最后看一次。凡是照着测试集挑出来的数字，都说明不了新样本上的表现。
#
# ## 一个层
#
# 线性层就是 y = x Wᵀ + b: B 张 64 像素的图变成 B 行得分。写成 `Module`，它的张量登记为参数，优化器才找得到。


# %%
class Linear(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * (2 / inputs) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return x @ self.weight.T + self.bias


class MLP(nn.Module):
    """64 pixels, two hidden layers, 10 scores."""

    def __init__(self, hidden=64):
        super().__init__()
        self.first, self.second, self.last = Linear(64, hidden), Linear(hidden, hidden), Linear(hidden, 10)

    def forward(self, x):
        x = x.flatten(1)
        return self.last(self.second(self.first(x).relu()).relu())


torch.manual_seed(0)
model = MLP()
number("parameters", sum(p.numel() for p in model.parameters()), tolerance=0)
table([[name, str(tuple(p.shape)), p.numel()] for name, p in model.named_parameters()], ["parameter", "shape", "numbers"])

# %% [markdown] lang="en"
# {parameters:.0f} numbers. The engine's `nn.Linear` is this class with an operation behind it that does product and bias in one:

# %% [markdown] lang="zh"
# 一共 {parameters:.0f} 个数。引擎的 `nn.Linear` 与它是同一个类，只是背后的运算把乘积和偏置合成了一步：

# %%
quote(nn.Linear.forward)

# %% [markdown] lang="en"
# ## A loss
#
# The scores z become probabilities by softmax, pₖ = exp(zₖ) / Σ exp(zⱼ), and the loss of an image with label y is −log p_y: the
# cross-entropy. In one step, −log p_y = log Σ exp(zⱼ) − z_y, and with the maximum taken out nothing can overflow.
#
# **Predict.** Before training the network knows nothing. What should the mean loss over ten classes be?

# %% [markdown] lang="zh"
# ## 一个损失
#
# 得分 z 经 softmax 变成概率，pₖ = exp(zₖ) / Σ exp(zⱼ)；标签为 y 的图，损失是 −log p_y，即交叉熵。合成一步写：−log p_y = log Σ exp(zⱼ) − z_y,
# 先把最大值提出来，就不会溢出。
#
# **先猜再看。** 训练之前网络什么都不知道。十个类别，平均损失应该是多少？


# %%
def cross_entropy(scores, labels):
    largest = scores.max(1, keepdim=True).values
    log_sum = (scores - largest).exp().sum(1).log() + largest[:, 0]
    return (log_sum - scores[torch.arange(len(labels)), labels]).mean()


with torch.no_grad():
    start = cross_entropy(model(train_x), train_y).item()
guess = None
predict("loss before training", guess, start)
number("loss_at_start", start, tolerance=0.1)
assert math.isclose(start, nn.functional.cross_entropy(model(train_x), train_y).item(), rel_tol=1e-5)

# %% [markdown] lang="en"
# Knowing nothing means probability 1/10 for each class, and −log(1/10) = ln 10 = 2.303. Here it is {loss_at_start:.2f}: somewhat above, since
# the last layer starts with scores that differ from 0, and are wrong as often as chance wants. **Check 1** of any training program: the
# first loss is near the logarithm of the number of classes. (If it is 4.1 for ten classes, the last layer starts too large, or the
# labels do not belong to the images.)
#
# ## The loop
#
# **Check 2**: a network that cannot learn 32 images by heart will not learn 1,257. Overfit one batch first; it takes a second, and
# finds most bugs: labels shifted by one, a missing step, gradients that are never zeroed.

# %% [markdown] lang="zh"
# 什么都不知道，就是每类概率 1/10，损失为 −log(1/10) = ln 10 = 2.303。这里是 {loss_at_start:.2f}，高出一些：最后一层的起始得分并不都是 0，瞎猜的自信有对有错。
# 这就是任何训练程序的**检查一**：起始损失应接近类别数的对数。（十个类别起始损失却是 4.1，要么最后一层起始值太大，要么标签和图对不上。）
#
# ## 训练循环
#
# **检查二**：连 32 张图都背不下来的网络，不可能学会 1257 张。先在一个批次上过拟合；只要一秒，却能抓住大多数 bug：标签错了一位，漏了更新，梯度从不清零。

# %%
torch.manual_seed(0)
small = MLP()
optimizer = torch.optim.SGD(small.parameters(), lr=0.2)
batch_x, batch_y = train_x[:32], train_y[:32]
for _ in range(200):
    optimizer.zero_grad()
    loss = cross_entropy(small(batch_x), batch_y)
    loss.backward()
    optimizer.step()
number("one_batch", loss.item(), tolerance=0.5)

# %% [markdown] lang="en"
# {one_batch:.3f}: learned by heart. Now all of it, in batches of 64, with the loss on the validation set beside.

# %% [markdown] lang="zh"
# 损失降到 {one_batch:.3f}，背下来了。现在用全部数据，每批 64 张，同时记录验证集上的损失。


# %%
def train(model, epochs=25, lr=0.1, seed=0):
    torch.manual_seed(seed)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(train_x, train_y), batch_size=64, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    history = []
    for _ in range(epochs):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
        with torch.no_grad():
            history.append((total / len(train_y), cross_entropy(model(splits["val"][0]), splits["val"][1]).item()))
    return history


def accuracy(model, x, y):
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


history = train(model)
guess = None
test_accuracy = accuracy(model, test_x, test_y)
predict("accuracy on the test set", guess, test_accuracy)
number("test_accuracy", test_accuracy, tolerance=0.02)
number("train_accuracy", accuracy(model, train_x, train_y), tolerance=0.02)

# %%
drawn, axes = figure(6, 3)
axes.plot(range(1, 26), [a for a, _ in history], label="training", markevery=4)
axes.plot(range(1, 26), [b for _, b in history], label="validation", markevery=4)
axes.set(xlabel="epoch", ylabel="cross-entropy", yscale="log")
axes.legend()
rows = [0, 4, 9, 14, 19, 24]
present(
    drawn,
    "Loss against epochs on a logarithmic axis: the training loss keeps falling, the validation loss levels off.",
    {"epoch": [r + 1 for r in rows], "training": [history[r][0] for r in rows], "validation": [history[r][1] for r in rows]},
)

# %% [markdown] lang="en"
# The training images are right to {train_accuracy:.1%}, new ones to {test_accuracy:.1%}. The two curves part where the network begins to learn
# the training images rather than digits; what to do about that is 09's subject.
#
# ## What it gets wrong
#
# **Check 3**: look at the mistakes, not only at their number. Are they hard for you too? Then little is left to gain. Are they all of
# one kind? Then something is wrong with the data or the program.

# %% [markdown] lang="zh"
# 训练集上答对 {train_accuracy:.1%}，新图上答对 {test_accuracy:.1%}。两条曲线分开的地方，网络开始背训练图片而不是认数字了；该怎么办，见 09。
#
# ## 错在哪里
#
# **检查三**：不要只数错了多少，要看错的是什么。你自己也难认吗？那剩下的空间不大了。错的都是同一类吗？那是数据或程序有问题。

# %%
with torch.no_grad():
    probabilities = model(test_x).softmax(1).numpy()
predicted, truth = probabilities.argmax(1), test_y.numpy()
wrong = np.nonzero(predicted != truth)[0]
drawn, axes = figure(8, 1.7, panels=8)
for panel in axes:
    panel.axis("off")
for panel, i in zip(axes, wrong, strict=False):
    panel.imshow(test_x.numpy()[i, 0], cmap="gray_r")
    panel.set_title(f"{truth[i]} as {predicted[i]}\n{probabilities[i].max():.0%} sure", fontsize=8)
present(
    drawn,
    f"The first {min(8, len(wrong))} of {len(wrong)} misclassified test digits, each with its label, the network's answer and its confidence.",
    {"label": truth[wrong[:8]].tolist(), "answer": predicted[wrong[:8]].tolist(), "sure": [float(p) for p in probabilities[wrong[:8]].max(1)]},
)
number("wrong", len(wrong), tolerance=0.5)

# %% [markdown] lang="en"
# ## To another machine
#
# A network is its parameters and the code that uses them. `state_dict` gives the parameters by name; a file of them is read back
# without executing anything in it, and a name or a shape that does not fit is refused.

# %% [markdown] lang="zh"
# ## 带到别的机器上
#
# 网络 = 参数 + 使用参数的代码。`state_dict` 按名字给出参数；读这样的文件不会执行其中任何东西，名字或形状对不上会被拒绝。

# %%
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "mlp.safetensors"
    torch.save(model.state_dict(), path)
    elsewhere = MLP()
    elsewhere.load_state_dict(torch.load(path))
    print("the same answers:", bool((elsewhere(test_x) == model(test_x)).all()))
    try:
        MLP(hidden=32).load_state_dict(torch.load(path))
    except RuntimeError as error:
        print(str(error).splitlines()[1].strip())

# %% [markdown] lang="en"
# ## Your turn

# %% [markdown] lang="zh"
# ## 轮到你了

# %%
from minidl.learn import check


def cross_entropy(logits, target, ignore_index=-100):
    raise NotImplementedError


def cross_entropy_backward(g, logits, target, ignore_index=-100):
    raise NotImplementedError


check("nn02", cross_entropy, cross_entropy_backward)

# %% [markdown] lang="en"
# Also: `nn01` (how a module finds its parameters), `nn10` (saving and loading), `bug02` (a training program with two planted bugs).
# `minidl train` is this loop with checkpoints, a progress bar and a report.
#
# ## Questions that interviewers ask here
#
# - The first loss is 4.1 for ten classes. What does that tell you?
# - Training loss near 0, test accuracy poor: which checks, in which order?
# - Why cross-entropy from scores rather than from probabilities?
#
# **Next**: 06, what the first numbers of a deep network decide.

# %% [markdown] lang="zh"
# 还有：`nn01`（Module 怎样找到自己的参数），`nn10`（保存与加载），`bug02`（一个埋了两处 bug 的训练程序）。
# `minidl train` 就是这个循环，外加检查点、进度条和报告。
#
# ## 面试官在这里会问
#
# - 十个类别，起始损失却是 4.1，说明什么？
# - 训练损失接近 0，测试准确率很差：按什么顺序查哪些东西？
# - 交叉熵为什么接收得分（logits）而不是概率？
#
# **下一篇**：06，深层网络最初的那些随机数决定了什么。
