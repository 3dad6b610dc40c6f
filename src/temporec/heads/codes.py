"""Semantic ids, code by code: hidden states and the codes so far meet the codes of the next level."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from temporec.heads.base import Head, HeadConfig
from temporec.registry import register

__all__ = ["CodeHead", "CodeHeadConfig"]


class CodeHeadConfig(HeadConfig):
    """It has no options of its own."""

    kind: Literal["codes"] = "codes"


@register("head", "codes")
class CodeHead(Head):
    """logit(c | h, c_1 .. c_(l-1)) = <q_l(h) * scale + shift, E_l[c]>, scale and shift from the codes so far.

    scale = 1 + sum_j A_lj[c_j] and shift = sum_j B_lj[c_j] start at 1 and 0 (feature-wise modulation, Perez et al.
    2018). As they do not depend on h, the logits of all nodes of a level are one matrix product.

    Args:
        dim: width D of the hidden states.
        sizes: rows of the code table of each level; a code c beyond them uses row c mod rows.
    """

    Config = CodeHeadConfig

    def __init__(self, config: CodeHeadConfig, dim: int, sizes: Sequence[int]) -> None:
        super().__init__(config)
        self.sizes = tuple(sizes)
        self.queries = nn.ModuleList(nn.Linear(dim, dim) for _ in sizes)
        self.codes = nn.ParameterList(torch.randn(size, dim) * dim**-0.5 for size in sizes)
        self.modulation = nn.ModuleList(
            nn.ParameterList(torch.zeros(size, 2 * dim) for size in sizes[:level]) for level in range(len(sizes))
        )

    def logits(self, hidden: Tensor, before: Tensor) -> Tensor:
        """Logits [N, rows] of the next code, for states [N, D] and the codes before it [N, l]."""
        level = before.shape[1]
        scale, shift = self._modulation(before)
        result: Tensor = (self.queries[level](hidden) * scale + shift) @ self.codes[level].T
        return result

    def nodes(self, path: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [n, D] and biases [n] of some nodes, given by all their codes [n, l + 1]."""
        level = path.shape[1] - 1
        scale, shift = self._modulation(path[:, :-1])
        code = self.codes[level][path[:, -1] % self.sizes[level]]
        return code * scale, (code * shift).sum(dim=1)

    def _modulation(self, before: Tensor) -> tuple[Tensor | float, Tensor | float]:
        if not before.shape[1]:
            return 1.0, 0.0
        tables = self.modulation[before.shape[1]]
        assert isinstance(tables, nn.ParameterList)
        rows = [table[codes % len(table)] for table, codes in zip(tables, before.T, strict=True)]
        scale, shift = torch.stack(rows).sum(dim=0).chunk(2, dim=1)
        return 1.0 + scale, shift
