"""Translations from networks that put out the next symbol: greedy decoding and beam search."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from episodes.translation.subwords import BEGIN, END, PADDING

LENGTH_POWER = 0.6
NEVER = float("-inf")


def decode(
    predict: Callable[[Tensor], Tensor], sources: Tensor, longest: int, beam: int = 1
) -> Tensor:
    """Translate N sentences of each of T episodes at once.

    predict: inputs (T, N', S + longest), a source and what is translated so far, to logits
        (T, N', L, symbols) of the symbol after each of the latter; L is at least their number.
    sources: (T, N, S) int64, each with its end.
    beam: hypotheses that are followed; 1 takes the likeliest symbol each time.
    Returns (T, N, longest) int64: symbols with their end, then padding; without an end where there
    was none in time.

    Each sentence is searched on its own, and until the best of its hypotheses has ended: that one
    is its translation, though another, going on, might come out better. So a translation does not
    depend on which sentences are decoded with it, nor on how long those are.

    Hypotheses are compared by their log-probability over ((5 + length) / 6) ** 0.6 (Wu et al. 2016,
    arXiv:1609.08144, equation 14, without their coverage penalty).
    """
    episodes, count, width = sources.shape
    repeated = sources.unsqueeze(2).expand(-1, -1, beam, -1).reshape(episodes, -1, width)
    # All hypotheses start alike: only the first of them may go on, or all would stay alike.
    totals = torch.full((episodes, count, beam), NEVER, device=sources.device)
    totals[..., 0] = 0.0
    found = sources.new_full((episodes, count, beam, longest), PADDING)
    ended = torch.zeros_like(totals, dtype=torch.bool)
    lengths = torch.zeros_like(totals)
    translated = found[:, :, 0]
    done = ended[..., 0]
    for place in range(longest):
        before = _shifted(found, place).view(episodes, count * beam, longest)
        logits = predict(torch.cat([repeated, before], -1))[:, :, place].float()
        logits[..., [PADDING, BEGIN]] = NEVER
        scores = logits.log_softmax(-1).view(episodes, count, beam, -1)
        # What has ended goes on in one way, which costs nothing.
        only = torch.full_like(scores[0, 0, 0], NEVER)
        only[PADDING] = 0.0
        scores = torch.where(ended.unsqueeze(-1), only, scores)
        lengths = lengths + ~ended
        candidates = totals.unsqueeze(-1) + scores
        ranked = candidates / ((5 + lengths) / 6).pow(LENGTH_POWER).unsqueeze(-1)
        best = ranked.flatten(2).topk(beam, dim=-1).indices
        origin, symbol = best // scores.shape[-1], best % scores.shape[-1]
        totals = candidates.flatten(2).gather(2, best)
        ended, lengths = ended.gather(2, origin), lengths.gather(2, origin)
        found = found.gather(2, origin.unsqueeze(-1).expand_as(found)).clone()
        found[..., place] = symbol
        ended = ended | (symbol == END)
        # What is done is still computed, as part of the batch, but no longer looked at.
        translated = torch.where(done.unsqueeze(-1), translated, found[:, :, 0])
        done = done | ended[..., 0]
        if bool(done.all()):
            break
    return translated


def _shifted(found: Tensor, place: int) -> Tensor:
    """Return what `place` symbols so far are followed by: the begin sign in front of them."""
    begin = torch.full_like(found[..., :1], BEGIN)
    shifted = torch.cat([begin, found[..., :-1]], -1)
    return shifted.masked_fill(torch.arange(found.shape[-1], device=found.device) > place, PADDING)
