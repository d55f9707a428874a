"""SAMA: networks, weights, sampling, training, and the editors that the worker loads. No torch is imported here."""

import logging

for _noisy in ("torchao", "torch.utils._pytree", "diffusers.quantizers.torchao"):
    # at every import of diffusers they name the kernels that torchao was not built with: nobody here can act on it
    logging.getLogger(_noisy).setLevel(logging.ERROR)
