"""Contradictions that no single key shows. Each rule is a function of the recipe; the table is the list of them all.

A rule yields (path of the key to change, what is wrong, how to fix it). `mpr check` runs them all; nothing is
downloaded before they hold. Each file of this folder has the rules of some sections of a recipe; `launch` compares a
recipe with the launcher that starts it, and is no part of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mpr.recipe.keys import Recipe
from mpr.recipe.rules import data, draw, labels, models, search, training
from mpr.recipe.rules.models import of_task, of_towers, unlike
from mpr.recipe.strict_yaml import Finding

__all__ = ["RULES", "Rule", "broken", "of_task", "of_towers", "unlike"]


@dataclass(frozen=True)
class Rule:
    """A name for messages and tests, and the check."""

    name: str
    check: Callable[[Recipe], Iterable[Finding]]


def broken(recipe: Recipe) -> list[Finding]:
    """Everything in the recipe that contradicts something else in it."""
    return [finding for rule in RULES if recipe.trains or rule.check in _ALWAYS for finding in rule.check(recipe)]


RULES = tuple(
    Rule(check.__name__.replace("_", " "), check)
    for check in (
        data.splits_exist,
        data.names_are_plain,
        data.no_training_on_evaluation,
        labels.unlabelled_fits,
        labels.augmented_counts,
        labels.llm_counts,
        data.validation_fits,
        data.match_fits,
        search.depth_reaches,
        search.search_is_known,
        search.approximate_search_fits,
        search.feedback_fits,
        search.refresh_fits,
        search.own_draws_fit,
        search.step_search_fits,
        draw.positives_fit_policy,
        labels.objective_fits_positives,
        labels.objective_is_fed,
        draw.something_to_contrast,
        labels.labels_fit,
        labels.labels_have_sources,
        labels.grey_is_ignored,
        labels.labels_follow,
        labels.columns_fit,
        labels.targets_reach,
        labels.step_teacher_is_asked,
        labels.whole_steps_fit,
        labels.guards_fit,
        labels.margins_fit,
        draw.negatives_have_sources,
        draw.negatives_fit,
        draw.fallbacks_fit,
        draw.block_fits,
        draw.weights_fit,
        draw.pairs_fit,
        draw.clusters_fit,
        models.towers_fit_the_task,
        models.only_own_passages,
        models.nothing_that_needs_vectors,
        models.encoder_is_named_once,
        models.lora_fits,
        models.lengths_fit,
        models.towers_agree,
        models.start_is_pinned,
        models.stages_are_earlier,
        models.models_of_sources_fit,
        models.start_agrees,
        models.models_are_of_their_kind,
        models.frozen_passages_have_learned,
        draw.negative_cache_fits,
        data.corpus_pins_fit,
        data.pinned,
        draw.batch_fits,
        training.training_is_complete,
        training.training_is_ours_to_set,
        training.training_numbers_make_sense,
        training.training_keys_agree,
        training.best_is_known,
        training.warmup_ends,
        data.paper_is_named,
        data.varies_exist,
        data.published_fits,
        data.bands_fit,
    )
)

_ALWAYS = (  # those that also hold for a recipe that trains nothing
    data.splits_exist,
    data.names_are_plain,
    data.no_training_on_evaluation,
    data.match_fits,
    search.depth_reaches,
    search.search_is_known,
    search.approximate_search_fits,
    search.feedback_fits,
    models.towers_fit_the_task,
    models.encoder_is_named_once,
    models.lengths_fit,
    models.towers_agree,
    models.start_is_pinned,
    models.stages_are_earlier,
    data.pinned,
    data.paper_is_named,
    data.varies_exist,
    data.published_fits,
)
