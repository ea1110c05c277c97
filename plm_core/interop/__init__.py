"""Weights, tokenizers and configurations exchanged with other libraries."""

from plm_core.interop.embeddings import embed_texts
from plm_core.interop.huggingface import is_hugging_face_folder, load_pretrained, open_folder, save_pretrained
from plm_core.interop.pretrained_models import pretrained, pretrained_folder

__all__ = [
    "embed_texts",
    "is_hugging_face_folder",
    "load_pretrained",
    "open_folder",
    "pretrained",
    "pretrained_folder",
    "save_pretrained",
]
