"""StoryWorld 2: stories of people with goals, plans and beliefs, whose every word has an exactly known probability.

A story introduces people, places and things; then its protagonist pursues a goal, which is not nearly met at the start.
The goal is told or hidden; three quarters of the hidden ones are told at the end. Others go about, carry things away,
know or do not know, help or refuse. In the end the goal is reached alone (mood ``proud``) or with help
(``grateful``), given up (``sad``), or refused (``angry``), each in a quarter of the stories.

- :class:`StoryWorld` tells stories from seeds: ``world.story(seed)``, ``world.stories(seed, split, count)``,
  ``world.tokens(...)``, ``world.write`` and ``world.split`` (words to text and back), ``world.vocabulary``.
- :class:`Story` holds ``words``, ``text``, ``sentences`` (each with its ``event``, ``pattern`` and ``words``), the
  latents ``goal`` and ``fate``, ``told``, ``replay()`` (the state before each sentence) and ``final_state``.
- :class:`IdealReader` reads words: ``surprisals(words)``, ``next_word(words)``, ``parse(words)``, and
  ``posterior(words, position)`` for a masked word. ``cursor(words)`` gives a :class:`Cursor` whose ``push(word)`` reads
  on, and whose ``goals()`` and ``moods()`` are the exact posterior of the latents, word by word.

Measuring: :mod:`entropy` (``entropy_rate``, ``bits_per_character``, ``read_sample`` with ``floor_by_skill``, and
``composition``, the shares of introductions, names and plans); :mod:`skill_reading` (``read(reader, words)`` gives a
``ReadWord`` for every word, with its surprisal, skill and distance); :mod:`skills` (the list ``SKILLS``).

Tasks, each with exact labels and the ideal reader's distribution of labels (``tasks.ceiling`` makes scores of it):
:mod:`tasks` (``moods``, ``tags``, ``relations``, ``summaries``), :mod:`questions` (about the world, beliefs, reasons),
:mod:`pairs` (``parallel`` stories in both languages, ``next_sentences``, ``sentence_orders``), :mod:`entailment`,
:mod:`probes` and :mod:`causal_probes` (one word is right, others are wrong), :mod:`baselines` (trivial guesses).
:mod:`files` writes stories and tasks to files.

The parts of the world: :mod:`state` (the world and every mind), :mod:`kinds`, :mod:`openings`, :mod:`actions` and
:mod:`events` (what each kind of event changes), :mod:`happenings` (what happens anyway), :mod:`goals` and
:mod:`plans` (the latents, and the policy that they determine), ``sentences*`` (how events are told, in both
languages side by side), :mod:`patterns` and :mod:`steps` (their compiled form), :mod:`world` (the teller),
:mod:`mixture` and :mod:`reader` (the ideal reader).
"""

from plm_core.storyworld.reader import Cursor, IdealReader, NotOfThisWorld
from plm_core.storyworld.story import EOS, Sentence
from plm_core.storyworld.world import Story, StoryWorld

__all__ = ["EOS", "Cursor", "IdealReader", "NotOfThisWorld", "Sentence", "Story", "StoryWorld"]
