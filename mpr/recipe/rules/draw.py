"""Rules about `draw:`: what each weight of candidates needs, and what questions that are clustered need."""

from __future__ import annotations

from collections.abc import Iterator

from mpr import catalogue, corpora
from mpr.recipe import schedule
from mpr.recipe.keys import Recipe
from mpr.recipe.keys_draw import PAIRED
from mpr.recipe.rules.training import Finding
from mpr.recipe.strict_yaml import Path_

PARAMETERS = {  # key -> the weight that it belongs to
    "temperature": "softmax",
    "simans": "simans",
    "laplace": "simans_laplace",
    "rance": "rance",
    "bins": PAIRED,
}
TEACHER = "teacher_QP"


def _weights_fit(recipe: Recipe) -> Iterator[Finding]:
    for number, entry in enumerate(recipe.draw.negatives):
        path: Path_ = ("draw", "negatives", number)
        for key, weight in PARAMETERS.items():
            if (getattr(entry, key) is not None) != (entry.weight == weight):
                yield (*path, key), f"goes with weight {weight}, and only with it", "add or remove it"
        if entry.rance is not None and entry.rance.window % 2 == 0:
            yield (*path, "rance", "window"), "has no middle", "give an odd number of ranks"


def _pairs_fit(recipe: Recipe) -> Iterator[Finding]:
    """What is drawn by the margins of a teacher."""
    taught = any(TEACHER in getattr(catalogue.find("labels", label.name), "PROVIDES", ()) for label in recipe.labels)
    paired = [number for number, entry in enumerate(recipe.draw.negatives) if entry.weight == PAIRED]
    for number in paired[:1]:
        if not taught:
            what = "margin_bins goes by the scores of a teacher, which no label of this recipe gives"
            yield ("draw", "negatives", number, "weight"), what, "add the label teacher"
    for number in paired[1:]:
        what = "a second entry that draws pairs, where one already decides"
        yield ("draw", "negatives", number, "weight"), what, "raise the k of the first, or use another weight"


def _clusters_fit(recipe: Recipe) -> Iterator[Finding]:
    wanted, path = recipe.draw.clusters, ("draw", "clusters")
    if (wanted is not None) != (recipe.draw.questions == "cluster"):
        yield path, "goes with questions: cluster, and only with it", "add or remove it"
    if wanted is None:
        return
    step = schedule.questions_per_step(recipe)
    if step is not None and step % wanted.per_batch:
        what = f"does not divide the {step:,} questions of a step into equal parts"
        yield (*path, "per_batch"), what, "choose a divisor"
    if wanted.per_batch > wanted.k:
        yield (*path, "per_batch"), f"is more than the {wanted.k:,} clusters", "choose fewer"
    split = corpora.of(recipe.data.corpus).splits.get(recipe.data.train)
    count = split.trainable if split else None
    if count is not None and wanted.k > count:
        yield (*path, "k"), f"is more than the {count:,} questions of the split", "choose fewer"


CHECKS = (_weights_fit, _pairs_fit, _clusters_fit)
