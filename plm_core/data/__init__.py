"""Data, from files and generators to batches: corpora, tokenizers, token files, packing, masking."""
