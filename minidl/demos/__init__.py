"""Experiments behind statements: each reruns on packaged data, prints its figures and the bands that they belong in.

    minidl demo                              the list
    minidl demo init-variance                figures beside their bands, and which statement they support or refute
    minidl demo init-variance --seeds 20     the bands, measured anew

A demo is one file. Its docstring says what is tested and why it comes out as it does; `measure` is the experiment, written
with the engine; `draw` is its picture; `DEMO` says what was claimed, and lists the figures with bands that were measured
over several seeds. demo.py holds what these are made of, common.py what several experiments need, plots.py the one style
of their pictures.

In Python:

    result = minidl.demos.run("init-variance", seed=0)
    result.figures["relu.he"]                # what was measured
    result.passed                            # every figure is in its band
    minidl.demos.find("init-variance").figure("relu.he").band

**Citing a figure.** A number in prose that a demo produced follows a comment that names demo and figure, which no reader of
the rendered text sees:

    the signal keeps its size, <!-- demo: init-variance relu.he -->0.93 of it after 50 layers

A number is digits with an optional point, exponent (2.2e-8) and % sign (43 % is 0.43). `citations(text)` finds them,
`misquoted(text)` is a line for each whose demo or figure does not exist or whose number lies outside the figure's band, and
`plain(text)` is the text without the comments, for a terminal. Tables of evidence, as in TOML files, name the same two words
under the keys `demo` and `figure`, with the number, if there is one, under `value`; `misquoted_evidence(table)` checks one.
tests/test_claims.py does so for README.md and tutorials/.
"""

from __future__ import annotations

from .citations import Citation, citations, misquoted, misquoted_evidence, plain
from .demo import Demo, Figure, Result
from .registry import DEMOS, find, names, run

__all__ = [
    "DEMOS", "Citation", "Demo", "Figure", "Result", "citations", "find", "misquoted", "misquoted_evidence", "names", "plain",
    "run",
]  # fmt: skip
