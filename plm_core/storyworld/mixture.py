"""The distribution of the next event as a mixture over the latents, and what an event tells about them."""

from __future__ import annotations

import math

from plm_core.storyworld import happenings
from plm_core.storyworld.events import KINDS
from plm_core.storyworld.goals import forbidden
from plm_core.storyworld.lexicon import Entry
from plm_core.storyworld.plans import policy, wanting
from plm_core.storyworld.state import Event, Goal, State
from plm_core.storyworld.story import Latent, Sentence
from plm_core.storyworld.world import StoryWorld

NEGLIGIBLE = 1e-300
"""A latent that is less probable than this is impossible; rounding alone stays far above it."""


class Mixture:
    """The distribution of the next event, with each latent's share in it.

    Attributes:
        total: the probability of every event that may come next.
    """

    def __init__(self, world: StoryWorld, state: State, latents: dict[Latent, float]):
        self.world, self.state, self.latents = world, state, latents
        self.total: dict[Event, float] = {}
        self._anyway: dict[Event, float] = {}
        self._parts: list[tuple[Latent, float, tuple[Event, ...], dict[Event, float]]] = []
        if not state.opened:
            self.total = {event: share for share, event in world.introduction.next(state)}
        elif not latents:
            self._begin()
        else:
            self._mix()

    def _begin(self) -> None:
        hidden = self.world.hidden_goals
        if hidden:
            self.total["plan", (0,)] = hidden
        if hidden < 1:
            for (goal, _), share in self.world.latents(self.state).items():
                event = wanting(self.state, goal)
                self.total[event] = self.total.get(event, 0.0) + (1 - hidden) * share

    def _mix(self) -> None:
        state, total = self.state, self.total
        anyway_share = 0.0
        lost: set[Event] = set()
        refused: dict[Goal, tuple[Event, ...]] = {}
        for latent, weight in self.latents.items():
            share, options = policy(state, *latent, self.world.limits)
            planned: dict[Event, float] = {}
            if options:
                scale = (1 - share) / sum(option[0] for option in options)
                for option, event in options:
                    planned[event] = planned.get(event, 0.0) + option * scale
                    total[event] = total.get(event, 0.0) + weight * option * scale
            never: tuple[Event, ...] = ()
            if share:
                if not self._anyway:
                    self._anyway = happenings.distribution(state)
                goal = latent[0]
                if goal not in refused:
                    refused[goal] = tuple(e for e in forbidden(state, goal) if e in self._anyway)
                never = refused[goal]
                if never:
                    share /= 1 - sum(self._anyway[event] for event in never)
                    lost.update(never)
                anyway_share += weight * share
            self._parts.append((latent, share, never, planned))
        for event, probability in self._anyway.items():
            mass = anyway_share
            if event in lost:
                mass = sum(
                    self.latents[latent] * share for latent, share, never, _ in self._parts if event not in never
                )
            if mass > NEGLIGIBLE:
                total[event] = total.get(event, 0.0) + probability * mass

    @staticmethod
    def bare(event: Event) -> Event:
        """An event without the entries that it draws, as it stands in ``total``."""
        kind, args = event
        opens = KINDS[kind].opens
        return (kind, tuple(None if i in opens else arg for i, arg in enumerate(args))) if opens else event

    def update(self, event: Event) -> dict[Latent, float]:
        """The probabilities of the latents once an event was told."""
        anyway = self._anyway.get(event, 0.0)
        found: dict[Latent, float] = {}
        for latent, share, never, planned in self._parts:
            likelihood = planned.get(event, 0.0)
            if anyway and event not in never:
                likelihood += share * anyway
            if likelihood:
                found[latent] = self.latents[latent] * likelihood
        total = sum(found.values())
        return {latent: weight / total for latent, weight in found.items() if weight > NEGLIGIBLE * total}


def event_nats(world: StoryWorld, state: State, mixture: Mixture, sentence: Sentence) -> float:
    """-log p of a sentence: of its event, the entries that it draws, and its pattern, without looking at words."""
    kind, args = sentence.event
    bare = mixture.bare(sentence.event)
    nats = -math.log(mixture.total[bare])
    filled = bare[1]
    for index in KINDS[kind].opens:
        excluded = (*state.used, *(arg for arg in filled if isinstance(arg, Entry)))
        lexicon = world.introduction.lexicon_of(state, (kind, filled), index)
        nats += math.log(lexicon.weight("en", (), excluded) / args[index].weight)
        filled = (*filled[:index], args[index], *filled[index + 1 :])
    choices = world.tellings[kind].choices(state, args)
    return nats + math.log(choices.total / sentence.pattern.weight)
