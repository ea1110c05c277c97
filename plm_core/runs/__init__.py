"""Runs: training from a configuration file to a folder with model, tokenizer and logs, and the use of such folders."""
