"""The SAMA editor: the pipeline with one set of weights, fed chunk by chunk with the noise of its place in the shot."""

from __future__ import annotations

import torch
from transformers import ByT5Tokenizer

from sama_model.config import Options, WeightsCard
from sama_model.editors.base import EditRequest, Frames, Progress, array_of
from sama_model.errors import WeightsError
from sama_model.pipeline import SamaPipeline
from sama_model.sampling import shot_noise
from sama_model.tiny import TEXT_ENCODER, TRANSFORMER, VAE, tiny_tensors
from sama_model.weights import digest_of, load_text_encoder, load_transformer, load_vae


class SamaEditor:
    """Edits chunks by instruction with a loaded pipeline."""

    def __init__(self, card: WeightsCard, pipeline: SamaPipeline) -> None:
        self.card = card
        self.pipeline = pipeline
        self.pipeline.set_progress_bar_config(disable=True)
        device: torch.device = pipeline.transformer.device
        self.device = "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)

    def edit(self, request: EditRequest, progress: Progress) -> Frames:
        """The edited clip; a denoising step is a step.

        Noise is drawn for each latent frame from the seed and its absolute index in the shot, so that chunks that
        overlap start from the same noise there; the semantic noise is drawn from the seed.

        Raises:
            ValueError: an array that is no clip of 4k+1 frames in whole patches, a negative seed, or no recipe.
        """
        frames = array_of(request.frames)
        if request.recipe is None:
            names = ", ".join(name for name, _ in self.card.recipes)
            raise ValueError(f"editor 'sama' needs a sampling recipe: resolve one of its presets ({names})")
        shape = self.pipeline.latent_shape(frames)
        semantic_dim = self.pipeline.transformer.config.semantic_dim
        output = self.pipeline(
            frames,
            request.instruction,
            num_inference_steps=request.recipe.steps,
            guidance_scale=request.recipe.guidance,
            shift=request.recipe.shift,
            noise=shot_noise(shape, semantic_dim, request.seed, request.first_latent),
            on_step=progress,
        )
        edited: Frames = output.frames
        return edited


def load_sama(card: WeightsCard, options: Options = Options()) -> SamaEditor:  # noqa: B008 - frozen
    """The editor with the weights of the card.

    Raises:
        WeightsError: the weights are not the ones that the card names.
    """
    if card.name == "tiny":
        return SamaEditor(card, load_tiny(card.digest))
    if options.weights_folder is None:
        raise WeightsError(f"weights '{card.name}': no weights folder is set")
    return SamaEditor(card, SamaPipeline.from_pretrained(options.weights_folder / card.name))


def load_tiny(digest: str) -> SamaPipeline:
    """The pipeline of the random weights `tiny`, float32 on the CPU; its tokens are the prompt's bytes.

    Limits torch to one thread in this process. Alone, a second one gains a third; beside another busy process the two
    wait for each other and a chunk was measured to take up to fifty times as long. One thread also means the same order
    of additions, whatever the number of cores.

    Raises:
        WeightsError: the numbers drawn here are not those of the digest.
    """
    networks = tiny_tensors()
    drawn = digest_of({f"{network}/{name}": t for network, tensors in networks.items() for name, t in tensors.items()})
    if drawn != digest:
        raise WeightsError(
            f"the weights 'tiny' have digest {drawn}, their card says {digest}: this numpy draws other numbers; "
            "install the versions of constraints.txt"
        )
    torch.set_num_threads(1)
    return SamaPipeline(
        tokenizer=ByT5Tokenizer(extra_ids=0),
        text_encoder=load_text_encoder(networks["text_encoder"], TEXT_ENCODER, torch.float32),
        vae=load_vae(networks["vae"], VAE, torch.float32),
        transformer=load_transformer(networks["transformer"], TRANSFORMER, torch.float32),
    )
