"""Terms of an objective that ask for what a recipe does not have. For fault 22."""

from __future__ import annotations

from tests.faults.contradictory_labels import CACHE
from tests.faults.contradictory_searches import TREC, WORLD
from tests.faults.contradictory_tasks import READER, TOKENS

MORE = "{name: lse_pair, temperature: 0.05"  # an entry of an objective, to be ended

# rule -> (recipe, what is set in it, key that is refused, part of the message)
CASES: dict[str, list[tuple[str, list[str], str, str]]] = {
    "against fits": [
        (WORLD, [f"objective=[{MORE}, against: [questions]}}]"], "objective[0].against", "has no passages"),
        (WORLD, [f"objective=[{MORE}, against: [passages, passages]}}]"], "objective[0].against", "something twice"),
        (WORLD, [f"objective=[{MORE}, against: [passages, copassages, copassages_of_others]}}]"],
         "objective[0].against", "has all of"),
        (WORLD, [f"objective=[{MORE}, against: [passages, questions]}}]", "draw.in_batch=false"],
         "objective[0].against", "no row sees what others drew"),
        (WORLD, [f"objective=[{MORE}, against: [passages, questions]}}]", "labels.0.siblings=negative"],
         "objective[0].against", "its own negative"),
        (WORLD, [f"objective=[{MORE}, view: positive, against: [passages]}}]"],
         "objective[0].against", "has no questions"),
        (WORLD, [f"objective=[{MORE}, view: positive, against: [questions, passages]}}]"],
         "objective[0].against", "the rows are positives"),
        (WORLD, [f"objective=[{MORE}, view: positive, hardness: {{strength: 1.0, of: all}}}}]"],
         "objective[0].hardness", "passages that questions are compared with"),
        (WORLD, [f"objective=[{MORE}, hardness: {{strength: 1.0, of: drawn}}}}]", "draw.negatives=[]"],
         "objective[0].hardness", "no negatives are drawn"),
        (WORLD, [f"objective=[{MORE}, hardness: {{strength: 1.0, of: others}}}}]", "draw.in_batch=false"],
         "objective[0].hardness", "no row sees what others drew"),
        (WORLD, ["objective=[{name: wasserstein, hardness: {strength: 1.0, of: all}}]"],
         "objective[0].hardness", "compares whole rows"),
        (WORLD, ["objective=[{name: wasserstein, against: [passages, questions]}]"],
         "objective[0].against", "needs grades_QP"),
        (WORLD, [f"objective=[{MORE}, against: [passages, copassages_of_others]}}]", "draw.in_batch=false"],
         "objective[0].against", "no row sees what others drew"),
        (WORLD, [f"objective=[{MORE}, against: [passages, questions]}}]", CACHE],
         "objective[0].against", "a negative cache keeps no relations"),
        (TREC, [*TOKENS, f"objective=[{MORE}, against: [passages, questions]}}]"],
         "objective[0].against", "compares vectors of whole texts"),
        (TREC, [*READER, f"objective=[{MORE}, hardness: {{strength: 1.0, of: all}}}}]"],
         "objective[0].hardness", "compares vectors of whole texts"),
    ],
    "widths fit": [
        (WORLD, [f"objective=[{MORE}, widths: [64]}}]", CACHE], "objective[0].widths", "remembers whole vectors"),
        (TREC, [*TOKENS, f"objective=[{MORE}, widths: [64]}}]"], "objective[0].widths", "interaction model makes none"),
        (TREC, [*READER, f"objective=[{MORE}, widths: [64]}}]"], "objective[0].widths", "a cross-encoder makes none"),
        (TREC, [*TOKENS, "encoding={compute: float32, dtype: float32, width: 64}"],
         "encoding.width", "a late-interaction model makes none"),
        (WORLD, [f"objective=[{MORE}, widths: [16, 64]}}]"], "objective[0].widths", "from wide to narrow"),
        (WORLD, [f"objective=[{MORE}, widths: [512, 64]}}]"], "objective[0].widths", "cannot be cut to 512"),
        (WORLD, [f"objective=[{MORE}, widths: [64], width_weights: [1.0, 2.0]}}]"],
         "objective[0].width_weights", "2 factors for 1 widths"),
        (WORLD, [f"objective=[{MORE}, width_weights: [1.0]}}]"], "objective[0].width_weights", "belong to `widths`"),
        (WORLD, ["encoding={compute: float32, dtype: float32, width: 512}"], "encoding.width", "cannot be cut to 512"),
    ],
}  # fmt: skip
