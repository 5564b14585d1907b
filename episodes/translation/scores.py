"""BLEU and chrF of few sentences."""

from __future__ import annotations

from collections.abc import Sequence


def scores(translated: Sequence[str], english: Sequence[str]) -> dict[str, float]:
    """Return the "bleu" and "chrf" of translations, 0 to 100, with one reference for each.

    Both over all sentences together ("corpus"), by sacrebleu at its defaults: BLEU of Papineni et
    al. 2002 with case, tokenized as "13a", n-grams that never match smoothed "exp" (signature
    nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp); chrF2 of Popovic 2015, character n-grams up to 6
    (nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no).
    """
    from sacrebleu.metrics import BLEU, CHRF

    references = [list(english)]
    return {
        # force: it would warn of sentences that end in " .", which learners may well put out.
        "bleu": BLEU(force=True).corpus_score(list(translated), references).score,
        "chrf": CHRF().corpus_score(list(translated), references).score,
    }
