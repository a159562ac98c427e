"""Work that goes step by step: text from a language model, attention over a cache that grows, loops over recurrent cells.

Rows of `minidl bench --sizes`. A step computes little, so that what surrounds its arithmetic counts; a whole loop is measured, as a
program has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .pieces import Piece, Rows, layer
from .workloads import Step, _random


def _gpt(m: Any, vocabulary: int, width: int, heads: int, layers: int, context: int) -> Any:
    """A GPT-2 without dropout and biases, which tells the scores of what follows a text (B, T): (B, V)."""
    nn = m.nn

    class Block(nn.Module):  # type: ignore[misc,name-defined]  # of whichever module is measured
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
            self.feed = nn.Sequential(
                nn.Linear(width, 4 * width, bias=False), nn.GELU(), nn.Linear(4 * width, width, bias=False)
            )

        def forward(self, x: Any) -> Any:
            B, T, _ = x.size()
            qkv = self.qkv(self.norm1(x)).split(width, dim=2)
            q, k, v = (t.view(B, T, heads, width // heads).transpose(1, 2) for t in qkv)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).contiguous().view(B, T, width))
            return x + self.feed(self.norm2(x))

    class GPT(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, text: Any) -> Any:
            x = self.words(text) + self.places(m.arange(text.size(1)))
            return self.head(self.norm(self.blocks(x))[:, -1, :])

    model = GPT().eval()
    with m.no_grad():
        for p in model.parameters():
            p.copy_(m.tensor(_random(*p.shape) + (p.ndim == 1)))
    return model


class Generation:
    """A text of `steps` more words, each the most likely one, or with `top` one of the `top` most likely ones, by chance.

    Two sides draw different words. Compared are texts of the most likely words: with chance, of one that has no choice.
    """

    def __init__(self, m: Any, steps: int, top: int, *sizes: int) -> None:
        self.module, self.steps, self.top, self.model = m, steps, top, _gpt(m, *sizes)
        self.context = sizes[-1]

    def text(self, top: int) -> Any:
        m, text = self.module, self.module.zeros(1, 1, dtype=self.module.long)
        with m.no_grad():
            for _ in range(self.steps):
                scores = self.model(text[:, -self.context :])
                text = m.cat((text, self.next_word(scores, top) if top else scores.argmax(-1, keepdim=True)), dim=1)
        return text

    def next_word(self, scores: Any, top: int) -> Any:
        m, scores = self.module, scores / 0.8  # a temperature
        best, _ = m.topk(scores, min(top, scores.size(-1)))
        scores[scores < best[:, [-1]]] = -float("inf")
        return m.multinomial(m.softmax(scores, dim=-1), num_samples=1)

    def __call__(self) -> float:
        self.text(self.top)
        return 0.0

    def values(self) -> list[Any]:
        """The words, as numbers."""
        return [self.text(min(self.top, 1)).numpy().astype(np.float64)]


def generation(steps: int, top: int, *sizes: int) -> Callable[[Any], Step]:
    return lambda m: Generation(m, steps, top, *sizes)


def growing_cache(heads: int, width: int, steps: int) -> Callable[[Any], Step]:
    """Each step joins a key and a value to those before, and attends to all of them with one query."""

    def make(m: Any) -> Step:
        def run(q: Any, k: Any, v: Any) -> Any:
            keys, values, out = k, v, q
            for _ in range(steps):
                keys, values = m.cat([keys, k], 2), m.cat([values, v + out], 2)
                out = m.nn.functional.scaled_dot_product_attention(q, keys, values)
            return out

        return Piece(m, run, *(_random(1, heads, 1, width) + 0.01 * i for i in range(3)), grad=False)

    return make


def cell_loop(name: str, width: int, hidden: int, steps: int, batch: int, grad: bool = True) -> Callable[[Any], Step]:
    """A loop over a recurrent cell, as in a lesson that shows what a layer does."""

    def make(m: Any) -> Step:
        cell = getattr(m.nn, name)(width, hidden)

        def run(x: Any) -> Any:
            state, outputs = None, []
            for t in range(steps):
                state = cell(x[t], state)
                outputs.append(state[0] if name == "LSTMCell" else state)
            return m.stack(outputs)

        return Piece(m, run, _random(steps, batch, width), layer=cell, grad=grad)

    return make


def _weighed(net: Any, x: Any) -> Any:
    return net(x, x, x)[0]


DECODING: Rows = {
    "generate 64 of 65 words, 4 x 64, the most likely": generation(64, 0, 65, 64, 4, 4, 64),
    "generate 64 of 65 words, 4 x 64, one of 20": generation(64, 20, 65, 64, 4, 4, 64),
    "generate 16 of 50257 words, 4 x 64, the most likely": generation(16, 0, 50257, 64, 4, 4, 64),
    "generate 16 of 50257 words, 4 x 64, one of 200": generation(16, 200, 50257, 64, 4, 4, 64),
    "generate 24 of 65 words, 6 x 384, the most likely": generation(24, 0, 65, 384, 6, 6, 128),
    "a cache that grows to 100, 1 x 4 x 32": growing_cache(4, 32, 99),
    "a cache that grows to 256, 1 x 12 x 64": growing_cache(12, 64, 255),
    "loop of LSTMCell 100 to 200, 20 steps, batch 8": cell_loop("LSTMCell", 100, 200, 20, 8),
    "loop of LSTMCell 33 to 100, 20 steps, batch 1, forward": cell_loop("LSTMCell", 33, 100, 20, 1, grad=False),
    "loop of GRUCell 100 to 200, 20 steps, batch 8": cell_loop("GRUCell", 100, 200, 20, 8),
    "loop of GRUCell 33 to 100, 20 steps, batch 1, forward": cell_loop("GRUCell", 33, 100, 20, 1, grad=False),
    "loop of RNNCell 33 to 100, 20 steps, batch 1": cell_loop("RNNCell", 33, 100, 20, 1),
    "LSTM 100 to 200, forward only, 100 steps, batch 1": layer(
        "LSTM", 100, 200, batch_first=True, on=(1, 100, 100), pick=lambda net, x: net(x)[0], grad=False
    ),
    "MultiheadAttention 96, 6 heads, 2 x 65, weights": layer(
        "MultiheadAttention", 96, 6, batch_first=True, on=(2, 65, 96), pick=_weighed
    ),
    "MultiheadAttention 33, 3 heads, 4 x 7, weights, forward": layer(
        "MultiheadAttention", 33, 3, batch_first=True, on=(4, 7, 33), pick=_weighed, grad=False
    ),
    **{
        f"TransformerEncoderLayer 32, 4 heads, {B} x {T}, evaluating": layer(
            "TransformerEncoderLayer", 32, 4, 64, batch_first=True, on=(B, T, 32), pick=lambda net, x: net.eval()(x), grad=False
        )
        for B, T in ((1, 7), (4, 16))
    },
}  # fmt: skip
