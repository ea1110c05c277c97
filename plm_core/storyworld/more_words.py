"""The further rows of the tables for the lexicon ``full``."""

TABLES: dict[str, str] = {}
