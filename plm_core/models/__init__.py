"""Network modules: attention, positions, blocks and the Transformer family built from them."""
