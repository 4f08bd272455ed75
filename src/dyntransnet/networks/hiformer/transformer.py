"""What every transformer of the network is made of: the pre-norm block and its attentions."""

import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

Tokens = Float[Tensor, "batch tokens channels"]

Placed = Float[Tensor, "batch *places channels"]
"""Tokens in a row or on a grid."""


class DropPath(nn.Module):
    """Leave a residual branch out for some of the samples while training.

    Args:
        rate: their share, in [0, 1).

    Source:
        Huang et al., Deep networks with stochastic depth, https://arxiv.org/abs/1603.09382
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Placed) -> Placed:
        """The branch, scaled up where it stays so that its mean is the same."""
        if not self.training or self.rate == 0:
            return branch
        share = 1 - self.rate
        kept = branch.new_full((len(branch), *[1] * (branch.ndim - 1)), share).bernoulli()
        return branch * kept / share


class TransformerBlock(nn.Module):
    """Pre-norm block: z' = z + attention(LN(z)), z'' = z' + MLP(LN(z')).

    Args:
        channels: of each token.
        attention: mixes the tokens, in a row or on a grid.
        mlp_ratio: width of the MLP's hidden layer in multiples of ``channels``.
        drop_path: share of samples that skip each half while training.
    """

    def __init__(
        self, channels: int, attention: nn.Module, *, mlp_ratio: int, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = attention
        self.mlp_norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, mlp_ratio * channels),
            nn.GELU(),
            nn.Linear(mlp_ratio * channels, channels),
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Placed) -> Placed:
        """Refine the tokens."""
        tokens = tokens + self.drop_path(self.attention(self.attention_norm(tokens)))
        return tokens + self.drop_path(self.mlp(self.mlp_norm(tokens)))


class SelfAttention(nn.Module):
    """Every token attends to every token: softmax(Q Kᵀ / √d) V."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, tokens: Tokens) -> Tokens:
        """Mix the tokens."""
        split = self.query_key_value(tokens).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind()
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2))


class ClassAttention(nn.Module):
    """The class token alone attends to all tokens, itself among them."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch 1 channels"]:
        """What the class token, the first, gathers."""
        query = self.query(tokens[:, :1]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        split = self.key_value(tokens).unflatten(-1, (2, self.heads, -1))
        key, value = split.permute(2, 0, 3, 1, 4).unbind()
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2))
