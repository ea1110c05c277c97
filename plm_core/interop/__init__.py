"""Weights and tokenizers exchanged with other libraries."""
