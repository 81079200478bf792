"""ROUGE by MLCommons' protocol (mlcommons/inference v5.1.1, language/llama2-70b/evaluate-accuracy.py): F-measures with stemming, mean x 100.

rougeLsum, which the script prints as well and no gate reads, is left out: it splits sentences by a model that nltk downloads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NAMES = {"ROUGE1": "rouge1", "ROUGE2": "rouge2", "ROUGEL": "rougeL"}


def scores(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Percent, rounded to four digits, by metric; ValueError when there are not as many answers as references."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(NAMES.values()), use_stemmer=True)
    found = [scorer.score(reference.strip(), answer.strip()) for answer, reference in zip(answers, references, strict=True)]
    return {metric: round(100 * float(np.mean([one[name].fmeasure for one in found])), 4) for metric, name in NAMES.items()}
