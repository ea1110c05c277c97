"""The book's build tool: ``python -m book execute | check | html | classroom | experiment | new``."""
