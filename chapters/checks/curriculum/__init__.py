"""Checks of the exercises of the chapter on pretraining in stages."""
