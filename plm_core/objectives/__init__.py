"""What a model is trained to do: objectives turn a model and a batch into a sum of losses and a count."""
