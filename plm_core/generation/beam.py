"""Beam search: the best of the sequences that a model can write, found among a few candidates at a time.

At each step every candidate of a beam is extended by every token, and the likeliest extensions are kept. One that ends
with the stop token leaves the beam (Sutskever et al. 2014, section 3.2), and its place is not filled again, which the
paper leaves open. Width 1 is thus greedy search, and a width of at least the number of all possible outputs is
exhaustive search.

Shapes are written into names: B sources, K candidates of a source (the width), N = B·K rows, S source tokens, V
vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from plm_core.evaluation.modes import evaluation_mode
from plm_core.generation.candidates import EncoderDecoder, PromptRows, RecurrentRows, Rows, TargetRows
from plm_core.generation.decoding import CausalModel, check_prompts
from plm_core.generation.sampling import check_finite, top_tokens
from plm_core.models.recurrent_seq2seq import RecurrentSeq2Seq

Penalty = Literal["wu", "division"]


@dataclass(frozen=True)
class Beam:
    """How beam search searches and how it compares outputs of different lengths.

    An output y of n tokens, the stop token included, has the score log p(y | x) / penalty(n). Every further token
    lowers the probability; whether short outputs win without a penalty depends on how much probability the model gives
    to an early end.

    Raises:
        ValueError: a setting outside its range.
    """

    width: int = 4
    """Number of candidates of each source, K; 1 is greedy search."""
    max_new_tokens: int = 100
    """Longest output, in tokens; a candidate that reaches it ends there, without a stop token."""
    penalty: Penalty = "wu"
    """``"wu"``: ((5 + n) / 6)^alpha (Wu et al. 2016, equation 14); ``"division"``: n^alpha, the mean at alpha 1."""
    alpha: float = 0.6
    """Strength of the penalty; 0 switches it off. Negative values would reward short outputs further."""
    outputs: int = 1
    """How many of the best outputs are returned for each source, at most the width."""

    def __post_init__(self) -> None:
        if not 1 <= self.outputs <= self.width:
            raise ValueError(f"expected 1 <= outputs <= width, got {self.outputs} outputs and width {self.width}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")
        if self.penalty not in ("wu", "division"):
            raise ValueError(f"unknown penalty {self.penalty!r}: use 'wu' or 'division'")
        if not 0 <= self.alpha < math.inf:
            raise ValueError(
                f"alpha must be a number from 0 upwards, got {self.alpha}: a negative one would make short outputs win"
            )

    def score(self, log_probability: float, length: int) -> float:
        """The score of an output.

        >>> Beam(alpha=1.0).score(-6.0, 7)
        -3.0
        """
        return log_probability / self.divisor(length)

    def divisor(self, length: int) -> float:
        """The penalty of an output of so many tokens; it grows with the length."""
        return (length if self.penalty == "division" else (5 + length) / 6) ** self.alpha


@dataclass(frozen=True)
class Output:
    """One output of beam search."""

    tokens: tuple[int, ...]
    """Token ids, with the stop token where it was written."""
    log_probability: float
    """Of all tokens together, in nats."""
    score: float
    """What the outputs are ordered by: :meth:`Beam.score`."""


def translate(
    model: EncoderDecoder | RecurrentSeq2Seq,
    input_ids: Tensor,
    *,
    start_token_id: int,
    stop_token_id: int,
    attention_mask: Tensor | None = None,
    beam: Beam | None = None,
) -> list[list[Output]]:
    """The best outputs of an encoder-decoder for each source, with the key-value cache; each source is encoded once.

    Args:
        model: the model, a Transformer or recurrent; it is put into evaluation mode and back.
        input_ids: sources, (B, S), as the model was trained on them: with an end token, if that was so there.
        start_token_id: what the decoder's input begins with.
        stop_token_id: what ends an output.
        attention_mask: bool, (B, S), True where a source token is real; None: all are.
        beam: how to search.

    Returns:
        For each source its outputs, the best first.

    Raises:
        ValueError: outputs longer than the model's targets, or logits that are not finite.
    """
    beam = Beam() if beam is None else beam
    longest = None if isinstance(model, RecurrentSeq2Seq) else model.config.max_position_embeddings
    if longest is not None and beam.max_new_tokens > longest:
        raise ValueError(f"max_new_tokens is {beam.max_new_tokens}, the model's targets have at most {longest} tokens")
    with evaluation_mode(model, keep_random_state=False), torch.inference_mode():
        rows: Rows
        if isinstance(model, RecurrentSeq2Seq):
            rows = RecurrentRows(model, input_ids, attention_mask, start_token_id, beam.width)
        else:
            rows = TargetRows(model, input_ids, attention_mask, start_token_id, beam.width)
        return search(rows, len(input_ids), beam, stop_token_id=stop_token_id, device=input_ids.device)


def continue_prompts(
    model: CausalModel, prompts: Sequence[Sequence[int]], *, stop_token_id: int, beam: Beam | None = None
) -> list[list[Output]]:
    """The best continuations of prompts by a causal model, such as the target after a source and a separator.

    Args:
        model: a causal language model; it is put into evaluation mode and back.
        prompts: token ids, of any lengths.
        stop_token_id: what ends a continuation.
        beam: how to search.

    Returns:
        For each prompt its continuations, without the prompt, the best first.

    Raises:
        ValueError: an empty prompt, one that leaves no room for ``max_new_tokens``, or logits that are not finite.
    """
    beam = Beam() if beam is None else beam
    context = model.config.max_position_embeddings
    check_prompts(prompts, context)
    longest = max(map(len, prompts)) + beam.max_new_tokens - 1  # the last token is written and not read
    if context is not None and longest > context:
        raise ValueError(f"prompt and continuation may have {longest} tokens, the model's context is {context}")
    device = next(iter(model.parameters())).device
    with evaluation_mode(model, keep_random_state=False), torch.inference_mode():
        rows = PromptRows(model, prompts, beam.width)
        return search(rows, len(prompts), beam, stop_token_id=stop_token_id, device=device)


def search(
    rows: Rows, sources: int, beam: Beam, *, stop_token_id: int, device: torch.device | str = "cpu"
) -> list[list[Output]]:
    """Beam search over anything that gives logits: the algorithm, without a model.

    A source is finished when no candidate left in its beam can still become one of its best outputs: log-probabilities
    only fall, so a candidate's score is at best its present log-probability divided by the greatest penalty. Stopping
    there changes no result.

    Args:
        rows: K rows for each source, all alike at the start.
        sources: B.
        beam: how to search.
        stop_token_id: what ends an output.
        device: where the logits are.

    Returns:
        For each source its outputs, the best first.

    Raises:
        ValueError: logits without a finite maximum.
    """
    width = beam.width
    outputs: list[list[Output]] = [[] for _ in range(sources)]
    active = list(range(sources))  # the numbers of the sources whose rows are still there
    scores_BK = torch.full((sources, width), -torch.inf, device=device, dtype=torch.float64)
    scores_BK[:, 0] = 0.0  # the rows of a source are alike: one of them is extended
    tokens_N: Tensor | None = None
    written_BKT = torch.empty(sources, width, 0, dtype=torch.int64, device=device)
    for length in range(1, beam.max_new_tokens + 1):
        logits_NV = rows.next_logits(tokens_N).double()  # in fp32 two logits could become equal
        check_finite(logits_NV.amax(dim=-1))
        log_p_BKV = logits_NV.log_softmax(dim=-1).view(len(active), width, -1)
        total_BKV = scores_BK[:, :, None] + log_p_BKV
        room_B = torch.tensor([width - len(outputs[source]) for source in active], device=device)
        scores_BK, places_BK = likeliest_extensions(total_BKV.flatten(1), room_B, width)
        parents_BK, tokens_BK = places_BK // log_p_BKV.shape[-1], places_BK % log_p_BKV.shape[-1]
        kept_BKT = written_BKT.gather(1, parents_BK[:, :, None].expand(-1, -1, length - 1))
        written_BKT = torch.cat((kept_BKT, tokens_BK[:, :, None]), dim=2)
        ends_BK = (scores_BK > -torch.inf) & ((tokens_BK == stop_token_id) | (length == beam.max_new_tokens))
        for place, slot in ends_BK.nonzero().tolist():
            log_p, tokens = float(scores_BK[place, slot]), tuple(written_BKT[place, slot].tolist())
            outputs[active[place]].append(Output(tokens, log_p, beam.score(log_p, length)))
        scores_BK = scores_BK.masked_fill(ends_BK, -torch.inf)
        going = unfinished(scores_BK, [outputs[source] for source in active], beam)
        if not going:
            break
        left_B = torch.tensor(going, device=device)
        offsets_B1 = left_B[:, None] * width  # the rows of a source lie side by side
        rows.select((offsets_B1 + parents_BK[left_B]).flatten())
        scores_BK, written_BKT, tokens_N = scores_BK[left_B], written_BKT[left_B], tokens_BK[left_B].flatten()
        active = [active[place] for place in going]
    return [sorted(found, key=lambda output: -output.score)[: beam.outputs] for found in outputs]


def likeliest_extensions(total_BX: Tensor, room_B: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The likeliest extensions of each source in descending order; of equally likely ones the first.

    Args:
        total_BX: log-probabilities of all extensions, (B, X); -inf for what is not there.
        room_B: how many may be kept for each source.
        width: K.

    Returns:
        Log-probabilities (B, K), -inf beyond the room, and places (B, K) in 0 to X - 1.
    """
    size = min(width, total_BX.shape[1])
    places_BK = top_tokens(total_BX, size)
    scores_BK, order_BK = total_BX.gather(1, places_BK).sort(dim=1, descending=True, stable=True)
    places_BK = places_BK.gather(1, order_BK)
    if size < width:  # fewer extensions than candidates
        scores_BK = nn.functional.pad(scores_BK, (0, width - size), value=-math.inf)
        places_BK = nn.functional.pad(places_BK, (0, width - size))
    beyond_BK = torch.arange(width, device=total_BX.device) >= room_B[:, None]
    return scores_BK.masked_fill(beyond_BK, -torch.inf), places_BK


def unfinished(scores_BK: Tensor, outputs: Sequence[Sequence[Output]], beam: Beam) -> list[int]:
    """The places of the sources of which a candidate can still become one of the best outputs."""
    reachable = (scores_BK.amax(dim=1) / beam.divisor(beam.max_new_tokens)).tolist()
    going = []
    for place, (bound, found) in enumerate(zip(reachable, outputs, strict=True)):
        best = sorted((output.score for output in found), reverse=True)[: beam.outputs]
        if bound > -math.inf and (len(best) < beam.outputs or bound > best[-1]):
            going.append(place)
    return going
