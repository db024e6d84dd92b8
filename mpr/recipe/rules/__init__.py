"""Contradictions that no single key shows. Each rule is a function of the recipe; the table is the list of them all.

A rule yields (path of the key to change, what is wrong, how to fix it). `mpr check` runs them all; nothing is
downloaded before they hold. Each file of this folder has the rules of some sections of a recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mpr.recipe.keys import Recipe
from mpr.recipe.rules import data, draw, terms, training
from mpr.recipe.rules.training import of_task, of_towers, unlike
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
        draw.unlabelled_fits,
        draw.augmented_counts,
        draw.llm_counts,
        data.validation_fits,
        data.match_fits,
        data.depth_reaches,
        data.search_is_known,
        data.approximate_search_fits,
        data.feedback_fits,
        data.refresh_fits,
        data.own_draws_fit,
        data.step_search_fits,
        draw.positives_fit_policy,
        draw.objective_fits_positives,
        draw.objective_is_fed,
        draw.something_to_contrast,
        draw.labels_fit,
        draw.labels_have_sources,
        draw.grey_is_ignored,
        draw.labels_follow,
        draw.columns_fit,
        draw.targets_reach,
        draw.step_teacher_is_asked,
        draw.whole_steps_fit,
        draw.guards_fit,
        draw.margins_fit,
        draw.negatives_have_sources,
        draw.negatives_fit,
        draw.fallbacks_fit,
        draw.block_fits,
        draw.weights_fit,
        draw.pairs_fit,
        draw.clusters_fit,
        training.towers_fit_the_task,
        training.only_own_passages,
        training.nothing_that_needs_vectors,
        training.encoder_is_named_once,
        training.lora_fits,
        training.precision_fits,
        training.packing_fits,
        terms.against_fits,
        terms.widths_fit,
        training.lengths_fit,
        training.towers_agree,
        training.start_is_pinned,
        training.stages_are_earlier,
        training.models_of_sources_fit,
        training.start_agrees,
        training.models_are_of_their_kind,
        training.frozen_passages_have_learned,
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
    data.depth_reaches,
    data.search_is_known,
    data.approximate_search_fits,
    data.feedback_fits,
    training.towers_fit_the_task,
    training.encoder_is_named_once,
    training.lengths_fit,
    training.towers_agree,
    terms.widths_fit,
    training.start_is_pinned,
    training.stages_are_earlier,
    data.pinned,
    data.paper_is_named,
    data.varies_exist,
    data.published_fits,
)
