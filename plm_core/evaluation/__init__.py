"""How good a model is, in units that can be compared."""
