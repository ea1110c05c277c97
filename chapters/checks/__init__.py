"""Checks that students run against their own code: shape first, then one mechanism, then the full reference."""
