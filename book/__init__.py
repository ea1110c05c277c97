"""The book's build tool: ``python -m book execute | check | html | classroom | experiment | new``."""

import sys

# nbformat checks notebooks with jsonschema, which would build a grammar of internationalised addresses when it is
# imported. That takes seconds, and no schema of a notebook has such an address.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
