import minidl
from minidl import Tensor, nn, optim
from minidl.nn import functional as F


class Net(nn.Module):
    """One hidden layer; in training half of its units are dropped."""

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, hidden)
        self.out = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.hidden(x))
        return self.out(F.dropout(h, 0.5))


def evaluate(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of rows that the model gets right."""
    model.eval()
    with minidl.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int) -> list[float]:
    """Train on all rows at once, and return the accuracy after every epoch."""
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    history = []
    for _ in range(epochs):
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        history.append(evaluate(model, x, y))
    return history
