"""Arrows point down: a module imports its own layer or lower ones, and nothing imports in a circle."""

from __future__ import annotations

import pytest

from tests.conftest import Examined
from tests.house.source import ROOT, Source, package

pytestmark = pytest.mark.small

# From the bottom to the top. `formats.*` is the package of that name with all that is in it; `` is `mpr/__init__.py`.
LAYERS = (
    ("", "errors"),
    (
        "catalogue", "environment", "lines", "manifest", "processes", "randomness", "records", "storage", "trackers",
        "unpack",
    ),
    (
        "agreement", "answers", "arrays", "faiss_settings", "fields", "formats.*", "measures", "model_names", "policy",
        "prompts", "rank_measures", "significance", "strict_yaml", "training_arguments", "world.*",
    ),
    (
        "backbones", "choice", "clock", "collection", "draw", "draw_rules", "judgements", "label_rules", "matching",
        "objectives.*", "pair_scores", "pairs", "passages", "positives", "question_rules", "questions", "ragged",
        "rank_profile", "ranking", "recipe", "recipe_draw", "recipe_plan", "recipe_results", "refresh_rules",
        "relations", "row_order", "rules", "scale_rules", "schedule", "scores", "search_rules", "shards",
        "start_rules", "task_rules", "tokens", "tower_rules", "training_rules", "weights",
    ),
    (
        "adapters", "augmented", "band", "brought", "candidate_table", "chat", "checkpoints", "collate", "columnar",
        "comparison", "contenders", "contract", "corpora.*", "costs", "cross_encoder", "cross_encoder_folder",
        "download", "evaluation", "exact", "faiss_index", "feedback", "first_pass", "fusion", "hits", "hub_model",
        "inference", "intake", "intervals", "knowledge", "late_interaction", "late_interaction_folder", "launching",
        "lengths", "lexical", "lexical_scores", "loss", "negative_cache", "out_of_memory", "overlap", "padding",
        "pair_collate", "pair_tokens", "pinned_file", "plan", "pretrained", "receipts", "recipe_file", "result",
        "run_folder", "scale", "schema", "search", "sentence_layout", "sifter", "stage", "stage_models", "targets",
        "towers", "towers_folder", "transcript", "unlabelled", "vectors", "vocabulary", "watch",
    ),
    (
        "audit", "audit_report", "callbacks", "clusters", "dataset", "dev_pool", "encode", "frozen", "labels.*",
        "live", "live_teacher", "metrics.*", "mine", "reference", "refresh", "scored", "scoring", "sources.*", "starts",
        "stretches", "tasks", "text_model", "trainer", "writer",
    ),
    (
        "admission", "augmentation", "expectation", "figures", "generation", "hub", "judge", "leaderboard",
        "leaderboard_lock", "leaderboard_page", "leaderboard_table", "leaks", "model_card", "panels", "pictures",
        "publication", "published_data", "retrieval", "row_checkpoint", "snippets", "standing", "sweeps",
        "training_run",
    ),
    ("cli", "pipeline", "reproduction", "stages", "train", "training_stages", "verbs.*", "verification"),
)  # fmt: skip


def _layer(module: str) -> int | None:
    for number, entries in enumerate(LAYERS):
        for entry in entries:
            name = entry.removesuffix(".*")
            if module == name or (entry.endswith(".*") and module.startswith(f"{name}.")):
                return number
    return None


def _arrows(sources: tuple[Source, ...]) -> list[tuple[str, str, str]]:
    """(place, importing module, imported module) for every import of one module of mpr by another."""
    modules = {source.module for source in sources}
    arrows = []
    for source in sources:
        for line, name in source.imports():
            if name == "mpr" or name.startswith("mpr."):
                target = name.removeprefix("mpr").removeprefix(".")
                while target not in modules:  # a function or class of a module, or a name of the package itself
                    target = target.rpartition(".")[0]
                arrows.append((f"{source.path}:{line}", source.module, target))
    return arrows


def _unplaced(sources: tuple[Source, ...]) -> list[str]:
    return [source.module for source in sources if _layer(source.module) is None]


def _upward(sources: tuple[Source, ...]) -> list[str]:
    found = []
    for place, module, target in _arrows(sources):
        own, other = _layer(module), _layer(target)
        if own is not None and other is not None and own < other:
            found.append(f"{place}: {module or 'mpr'} (layer {own}) imports {target} (layer {other})")
    return found


def _circles(sources: tuple[Source, ...]) -> list[str]:
    """The modules that are left when those that import nothing of what is left are taken away again and again."""
    below = {source.module: set[str]() for source in sources}
    for _, module, target in _arrows(sources):
        below[module].add(target)
    while free := {module for module, targets in below.items() if not targets & below.keys()}:
        below = {module: targets for module, targets in below.items() if module not in free}
    return sorted(below)


def _relative(sources: tuple[Source, ...]) -> list[str]:
    return [f"{s.path}:{line}: {name}" for s in sources for line, name in s.imports() if name.startswith(".")]


def test_every_module_has_a_layer(examined: Examined) -> None:
    missing = _unplaced(package())
    assert not missing, f"place these in LAYERS of {__file__.rpartition('/')[2]}: {', '.join(missing)}"
    examined(len(package()), "modules", at_least=50)


def test_every_entry_has_a_module(examined: Examined) -> None:
    modules = {source.module for source in package()}
    entries = [entry for layer in LAYERS for entry in layer]
    gone = [entry for entry in entries if entry.removesuffix(".*") not in modules]
    assert not gone, f"these entries of LAYERS have no file: {', '.join(gone)}"
    twice = [entry for entry in entries if entries.count(entry) > 1]
    assert not twice
    examined(len(entries), "entries", at_least=30)


def test_imports_point_down(examined: Examined) -> None:
    assert not _upward(package()), "\n".join(_upward(package()))
    examined(len(_arrows(package())), "imports of one module by another", at_least=100)


def test_no_circles(examined: Examined) -> None:
    assert not _circles(package())
    examined(len(package()), "modules", at_least=50)


def test_imports_are_absolute(examined: Examined) -> None:
    assert not _relative(package())
    examined(sum(len(list(source.imports())) for source in package()), "imports", at_least=300)


# Tests of the tests: the smallest sources that break each rule.


def test_planted_violations_are_caught() -> None:
    errors, records = Source.of("", "errors"), Source.of("", "records")
    upward = Source.of("from mpr import cli", "storage")
    nested = Source.of("def f():\n    from mpr.formats.trec import read", "records")
    cli, trec, stranger = Source.of("", "cli"), Source.of("", "formats.trec"), Source.of("", "stranger")
    root = Source.of("", "")
    assert _upward((root, upward, cli)) == ["mpr/storage.py:1: storage (layer 1) imports cli (layer 7)"]
    assert len(_upward((root, nested, trec, records))) == 1
    assert not _upward((root, Source.of("from mpr.errors import DataError", "records"), errors))
    assert _unplaced((errors, stranger, trec)) == ["stranger"]
    one = Source.of("from mpr.unpack import x", "lines")
    other = Source.of("import mpr.lines", "unpack")
    assert _circles((root, errors, one, other)) == ["lines", "unpack"]
    assert not _circles((root, one, Source.of("", "unpack")))
    assert len(_relative((Source.of("from . import a\nfrom .b import c\nimport os"),))) == 2


@pytest.mark.parametrize(
    "module, layer", [("", 0), ("storage", 1), ("formats", 2), ("formats.trec", 2), ("formatsx", None)]
)
def test_placing(module: str, layer: int | None) -> None:
    assert _layer(module) == layer


def test_the_tree_is_really_read() -> None:
    assert {source.path for source in package()} == {
        str(path.relative_to(ROOT)) for path in (ROOT / "mpr").rglob("*") if path.suffix == ".py"
    }
