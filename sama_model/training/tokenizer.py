"""The small model's tokenizer: pieces of bytes, learned on what the world says, so that any text at all has tokens.

Pieces are lower-case: a capital or none means the same to it. The end mark comes last, as umT5's tokenizer puts it.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sama_model.encoders import prompts_of
from sama_model.training.pretext import PRETEXTS, told
from sama_model.training.world.rules import WorldRules
from sama_model.training.world.samples import planned

PADDING, END = "<pad>", "</s>"
"""Tokens 0 and 1, umT5's."""
READ = 4000
"""Samples of the world whose sentences the pieces are learned on."""


def learned(rules: WorldRules, seed: int, vocabulary: int) -> PreTrainedTokenizerBase:
    """A tokenizer of so many pieces, the 256 bytes among them."""
    pieces = Tokenizer(BPE())
    pieces.normalizer = Lowercase()
    pieces.pre_tokenizer = ByteLevel(add_prefix_space=True)
    pieces.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PADDING, END],
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    pieces.train_from_iterator(sentences(rules, seed), trainer)
    pieces.post_processor = TemplateProcessing(single=f"$A {END}", special_tokens=[(END, pieces.token_to_id(END))])
    return PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token=PADDING, eos_token=END)


def sentences(rules: WorldRules, seed: int) -> Iterator[str]:
    """Instructions, and captions behind the pretexts' sentences, with the prefix that all prompts have."""
    for index in range(READ):
        plan = planned(seed, index, rules=rules)
        yield prompts_of(plan.instruction)[0]
        yield prompts_of(told(PRETEXTS[index % len(PRETEXTS)], plan.source_caption))[0]
