"""Weights, tokenizers and configurations exchanged with other libraries."""

from plm_core.interop.huggingface import is_hugging_face_folder, load_pretrained, open_folder, save_pretrained

__all__ = ["is_hugging_face_folder", "load_pretrained", "open_folder", "save_pretrained"]
