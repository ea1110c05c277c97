"""The notation of the sentence patterns.

A row is ``(weight, English, Chinese)``, or has the name of a condition behind, under which alone it may be chosen.
A word in braces, ``{slot}`` or ``{slot:form}``, depends on the event or the state; ``{p}`` is the subject, which may be
a pronoun. ``GO`` stands for a verb of motion, ``THIEF`` and ``EATER`` for animals. Beside the event's slots there are
``at``, the place of the first person; ``bel``, the place where the first person believes the thing or person to be;
``holder``, who holds it by that belief; ``owner``, who holds it; ``left``, the count after the event; ``sum``, the
counts of two people together; ``f``, the fruit of the story; ``secret``, the hidden thing.
"""

from __future__ import annotations

Row = tuple[int, str, str] | tuple[int, str, str, str]
