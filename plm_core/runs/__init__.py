"""Whole pretraining runs: a configuration in, a folder with a trained model, its tokenizer and its logs out."""
