"""The two ends of SAMA's semantic tokens: into the network's width, and out as the velocity of the tokens.

    (B, 65, 1152) --SigLIPFeatMLP--> (B, 65, dim) --blocks--> (B, 65, dim) --SemanticHead--> (B, 65, 1152)

Module and parameter names are the released file's (models.md 1.1, 'Checkpoint keys').
"""

from __future__ import annotations

from torch import Tensor, nn

NORM_EPS = 1e-6


class SigLIPFeatMLP(nn.Module):
    """LayerNorm, Linear, exact GELU, Linear: semantic features to the width of the transformer."""

    def __init__(self, features: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features, eps=NORM_EPS)
        self.fc1 = nn.Linear(features, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.fc2(self.act(self.fc1(self.norm(features))))
        return projected


class SemanticHead(nn.Module):
    """LayerNorm, Linear: final hidden states to the semantic velocity. Not modulated by the timestep."""

    def __init__(self, dim: int, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.proj = nn.Linear(dim, features)

    def forward(self, hidden: Tensor) -> Tensor:
        velocity: Tensor = self.proj(self.norm(hidden))
        return velocity
