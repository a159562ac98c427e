"""What `minidl train` can train, a class per recipe; RECIPES holds them by name."""

from .classifiers import CNN, MLP, Linear, MLPDropout, MnistCNN
from .recipe import Recipe
from .sorting import Sorting
from .text import GPT, NamesLSTM

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (MLP(), MLPDropout(), Linear(), CNN(), MnistCNN(), NamesLSTM(), GPT(), Sorting())
}
