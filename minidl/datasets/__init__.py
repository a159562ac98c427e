"""Data without a network: what packages ship, what can be made up, and readers for the files that a user has.

packaged    digits, wine, breast_cancer, diabetes, photographs, mnist5k, karate_club
text        names, python_help, text_file: characters as numbers
synthetic   two_moons, spirals, circles, blobs, xor, parity, adding_problem, copy_memory, sorting, sine_waves, ...
files       MNIST, FashionMNIST, CIFAR10, CIFAR100, ImageFolder, csv_file
"""

from .base import SPLITS, ArrayDataset, ImageDataset
from .files import CIFAR10, CIFAR100, MNIST, FashionMNIST, ImageFolder, csv_file, read_idx
from .packaged import Graph, breast_cancer, diabetes, digits, karate_club, mnist5k, photographs, wine
from .synthetic import (
    adding_problem,
    blobs,
    circles,
    copy_memory,
    parity,
    permuted_pixels,
    sine_waves,
    sorting,
    spirals,
    two_moons,
    xor,
)
from .text import Alphabet, Characters, Words, names, python_help, text_file

__all__ = [
    "CIFAR10", "CIFAR100", "MNIST", "SPLITS", "Alphabet", "ArrayDataset", "Characters", "FashionMNIST", "Graph", "ImageDataset",
    "ImageFolder", "Words", "adding_problem", "blobs", "breast_cancer", "circles", "copy_memory", "csv_file", "diabetes",
    "digits", "karate_club", "mnist5k", "names", "parity", "permuted_pixels", "photographs", "python_help", "read_idx",
    "sine_waves", "sorting", "spirals", "text_file", "two_moons", "wine", "xor",
]  # fmt: skip
