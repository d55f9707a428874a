"""LoRA: two small factors beside every product of the blocks are trained, and the network that is there is not.

W x + (alpha / rank) B A x, A (rank, in) drawn, B (out, rank) zero at first (arXiv 2106.09685); alpha is the rank, so
that a file's scale is 1.
"""

from __future__ import annotations

from pathlib import Path

from peft import LoraConfig, get_peft_model_state_dict

from sama_model.installed import LORA_FILE
from sama_model.pipeline import SamaPipeline
from sama_model.training.loop import seeded
from sama_model.transformer import SamaTransformer3DModel

LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")
"""Of every block, both attentions."""
NAME = "trained"


def adapt(transformer: SamaTransformer3DModel, rank: int, seed: int) -> None:
    """Freezes the network and puts factors of this rank beside its layers; they alone have gradients."""
    transformer.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LAYERS))
    seeded(lambda: transformer.add_adapter(config, adapter_name=NAME), seed)


def save_lora(transformer: SamaTransformer3DModel, folder: Path) -> Path:
    """The factors as a file that `samaflow model lora` and `SamaPipeline.load_lora_weights` take; its path."""
    factors = get_peft_model_state_dict(transformer, adapter_name=NAME)
    SamaPipeline.save_lora_weights(folder, transformer_lora_layers=factors, weight_name=LORA_FILE)
    return folder / LORA_FILE


def merge(transformer: SamaTransformer3DModel) -> None:
    """Adds the factors to the layers that they lie beside, and takes them away."""
    transformer.fuse_lora(adapter_names=[NAME])
    transformer.unload_lora()
