"""StoryWorld 2: stories of people with goals, plans and beliefs, whose every word has an exactly known probability.

A story introduces people, places and things; then its protagonist pursues a goal, which is told or hidden. Others go
about, carry things away, know or do not know, help or refuse. In the end the goal is reached alone (mood ``proud``) or
with help (``grateful``), given up (``sad``), or refused (``angry``), each in a quarter of the stories.

- :class:`StoryWorld` tells stories from seeds: ``world.story(seed)``, ``world.stories(seed, split, count)``,
  ``world.tokens(...)``, ``world.write`` and ``world.split`` (words to text and back), ``world.vocabulary``.
- :class:`Story` holds ``words``, ``text``, ``sentences`` (each with its ``event``, ``pattern`` and ``words``), the
  latents ``goal`` and ``fate``, ``told``, ``replay()`` (the state before each sentence) and ``final_state``.
- :class:`IdealReader` reads words: ``surprisals(words)``, ``next_word(words)``, ``read(words)`` (the skill of every
  word and the distance to its evidence), ``posterior(words, position)`` for a masked word. ``cursor(words)`` gives a
  :class:`Cursor` whose ``push(word)`` reads on and whose ``goals()`` and ``moods()`` are the exact posterior, word by
  word.

The parts of the package: :mod:`state` (the world and every mind), :mod:`events` (what each kind of event changes),
:mod:`happenings` (what happens anyway), :mod:`goals` and :mod:`plans` (the latents, and the policy they determine),
:mod:`sentences` (how each event is told, in both languages), :mod:`patterns` (their compiled form), :mod:`world` and
:mod:`reader`.
"""

from plm_core.storyworld.reader import Cursor, IdealReader, NotOfThisWorld
from plm_core.storyworld.story import EOS, Sentence, Story
from plm_core.storyworld.world import StoryWorld

__all__ = ["EOS", "Cursor", "IdealReader", "NotOfThisWorld", "Sentence", "Story", "StoryWorld"]
