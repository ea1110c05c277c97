"""Malformed inputs: every command refuses them with one message and loses nothing of the user's."""
