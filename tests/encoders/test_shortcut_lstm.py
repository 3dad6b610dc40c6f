"""The LSTM as it is sometimes printed, h_t = o_t tanh(g_t), cannot learn what the standard cell learns.

Without the cell state the forget and input gates do nothing, and nothing carries a memory past many other events. The
shortcut lives in this test only.
"""

import math

import torch
from torch import Tensor, nn

from temporec.encoders.base import Steps
from temporec.encoders.recurrent import LSTM, LSTMConfig
from temporec.runtime import generator

KEYS, NOISE, LAG, DIM = 2, 12, 20, 32


def long_memory_log(users: int, seed: int, lag: int) -> tuple[Tensor, Tensor]:
    """Histories [users, 1 + lag]: one of KEYS items, then noise; the next item is the key again."""
    draw = generator(seed)
    keys = torch.randint(0, KEYS, (users,), generator=draw)
    noise = torch.randint(KEYS, KEYS + NOISE, (users, lag), generator=draw)
    return torch.cat([keys[:, None], noise], dim=1), keys


class ShortcutLSTM(nn.Module):
    """h_t = o_t tanh(g_t), with g and o from x_t and h_(t-1) as in the standard cell; there is no c."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.h = nn.Linear(DIM, 2 * DIM), nn.Linear(DIM, 2 * DIM)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(DIM**-0.5), DIM**-0.5)

    def forward(self, steps: Steps) -> Tensor:
        h, hidden = torch.zeros_like(steps.x[:, 0]), []
        for x in self.x(steps.x).unbind(dim=1):
            g, o = (x + self.h(h)).chunk(2, dim=-1)
            h = torch.sigmoid(o) * torch.tanh(g)
            hidden.append(h)
        return torch.stack(hidden, dim=1)


class NextItem(nn.Module):
    """Embedding, cell, softmax over the keys after the last event."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.items, self.cell, self.head = nn.Embedding(KEYS + NOISE, DIM), cell, nn.Linear(DIM, KEYS)

    def forward(self, histories: Tensor) -> Tensor:
        size = torch.full((len(histories),), histories.shape[1])
        scores: Tensor = self.head(self.cell(Steps(self.items(histories), torch.zeros(histories.shape), size))[:, -1])
        return scores


def accuracy_after_training(cell: nn.Module, lag: int = LAG, updates: int = 300) -> float:
    """Accuracy on new histories; both cells get the same items, head, data and optimiser."""
    torch.manual_seed(1)
    model = NextItem(cell)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for update in range(updates):
        histories, keys = long_memory_log(64, seed=update, lag=lag)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(histories), keys).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        histories, keys = long_memory_log(1000, seed=10**6, lag=lag)
        return float((model(histories).argmax(dim=1) == keys).float().mean())


def test_the_standard_cell_remembers_and_the_printed_shortcut_does_not() -> None:
    torch.manual_seed(0)
    standard = accuracy_after_training(LSTM(LSTMConfig(dim=DIM, residual=False)))
    torch.manual_seed(0)
    shortcut = accuracy_after_training(ShortcutLSTM())
    assert standard > 0.95
    chance = 1 / KEYS
    assert abs(shortcut - chance) < 4 * math.sqrt(chance * (1 - chance) / 1000)


def test_the_shortcut_learns_what_is_near() -> None:
    """The control: its failure above comes from the distance, not from how it is built or trained."""
    torch.manual_seed(0)
    assert accuracy_after_training(ShortcutLSTM(), lag=1, updates=150) > 0.95
