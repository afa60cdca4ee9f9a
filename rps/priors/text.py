"""TextEncoder: the CLIP encoders of Stable Diffusion and SDXL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rps.priors.loading import dtype_of, load, load_complete

REMEMBERED = 512


class TextEncoder(nn.Module):
    """text -> (hidden states [1, L, C], pooled [1, P] or None).

    With one encoder (Stable Diffusion): its last hidden states. With two (SDXL): the penultimate hidden states of both,
    concatenated, and the pooled, projected output of the second. Each text is encoded by itself, once.

    Args:
        tokenizers: tokenizers of transformers.
        encoders: text encoders of transformers, one per tokenizer.
    """

    def __init__(self, tokenizers: Sequence[Any], encoders: Sequence[nn.Module]) -> None:
        super().__init__()
        self.tokenizers = list(tokenizers)
        self.encoders = nn.ModuleList(encoders).eval().requires_grad_(False)
        self._known: dict[str, tuple[Tensor, Tensor | None]] = {}

    @classmethod
    def from_pretrained(cls, path: str, dtype: str = "float32", pair: bool = False, **options: Any) -> TextEncoder:
        """Loads tokenizer/ and text_encoder/ of a model and, if `pair`, tokenizer_2/ and text_encoder_2/."""
        try:
            from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
        except ImportError as error:
            raise ImportError("a text-to-image prior needs transformers: pip install 'map-rps[text]'") from error

        weights: dict[str, Any] = {"dtype": dtype_of(dtype), **options}
        tokenizers = [load(_Loader(CLIPTokenizer, "tokenizer_config.json"), path, "tokenizer", **options)]
        encoders = [load_complete(_Loader(CLIPTextModel, "config.json"), path, "text_encoder", **weights)]
        if pair:
            tokenizers.append(load(_Loader(CLIPTokenizer, "tokenizer_config.json"), path, "tokenizer_2", **options))
            kind = _Loader(CLIPTextModelWithProjection, "config.json")
            encoders.append(load_complete(kind, path, "text_encoder_2", **weights))
        return cls(tokenizers, encoders)

    @torch.no_grad()
    def forward(self, text: str) -> tuple[Tensor, Tensor | None]:
        device = next(self.encoders.parameters()).device
        if text not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[text] = self._encode(text, device)
        hidden, pooled = self._known[text]
        return hidden.to(device), None if pooled is None else pooled.to(device)

    def _encode(self, text: str, device: torch.device) -> tuple[Tensor, Tensor | None]:
        pair = len(self.encoders) == 2
        outputs = [
            encoder(self.tokens(text, tokenizer, encoder).to(device), output_hidden_states=pair)
            for tokenizer, encoder in zip(self.tokenizers, self.encoders, strict=True)
        ]
        if not pair:
            return outputs[0].last_hidden_state, None
        return torch.cat([output.hidden_states[-2] for output in outputs], dim=-1), outputs[1].text_embeds

    def tokens(self, text: str, tokenizer: Any, encoder: Any) -> Tensor:
        """The text as [1, L] integers, padded to the length that the encoder needs."""
        longest = min(int(tokenizer.model_max_length), int(encoder.config.max_position_embeddings))
        count = len(tokenizer(text, truncation=False, verbose=False).input_ids)
        if count > longest:
            raise ValueError(
                f"the prompt {text[:40]!r}... has {count} tokens, but the text encoder takes {longest}; shorten it"
            )
        return tokenizer(text, padding="max_length", max_length=longest, return_tensors="pt").input_ids


class _Loader:
    """A class of transformers together with the name of its config file."""

    def __init__(self, kind: Any, config_name: str) -> None:
        self.kind, self.config_name, self.__name__ = kind, config_name, kind.__name__

    def from_pretrained(self, place: str, **options: Any) -> Any:
        from transformers.utils import logging

        logging.disable_progress_bar()  # loading takes a second or two, and the run has its own bar
        level = logging.get_verbosity()
        logging.set_verbosity_error()  # no table of missing tensors, which are an error here
        try:
            return self.kind.from_pretrained(place, **options)
        finally:
            logging.set_verbosity(level)
