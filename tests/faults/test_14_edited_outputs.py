"""Fault 14: a receipt is there, but what it speaks of was edited, deleted, or made by older code.

`mpr verify` names exactly what differs; `mpr reproduce` trusts none of it and makes it again, with the same result.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpr.errors import StorageError
from mpr.rows import pipeline, verification
from mpr.rows.receipts import Receipts
from mpr.storage import json_digest, manifest
from tests.conftest import Examined
from tests.e2e import small_rows

pytestmark = pytest.mark.long

STAGES = ("data", "mine", "train", "encode", "search", "evaluate")


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _problems(run: Path) -> list[str]:
    manifest._remembered.clear()  # as in another process; here an edit can be too quick for the clock of the disk
    return [problem.where for problem in verification.mismatches(verification.opened(run, run.parents[1] / ".mpr"))]


def test_every_edited_output_is_the_one_that_is_named(tmp_path: Path, examined: Examined) -> None:
    run = small_rows.copy(tmp_path)
    receipts, edited = Receipts(run, tmp_path / ".mpr"), 0
    assert _problems(run) == []
    for stage in STAGES:
        receipt = receipts.read(stage)
        assert receipt is not None
        for place in receipt.outputs:
            artefact = receipts.artefact(place)
            victim = max((path for path in artefact.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
            kept = victim.read_bytes()
            _flip(victim)
            assert set(_problems(run)) == {str(artefact)}, place
            victim.unlink()
            assert set(_problems(run)) == {str(artefact)}, place
            victim.write_bytes(kept)
            edited += 2
    assert _problems(run) == []
    examined(edited, "edited or deleted outputs", at_least=20)


def test_what_no_receipt_of_an_artefact_covers_is_named_too(tmp_path: Path, examined: Examined) -> None:
    """The log whose numbers a published page shows, what the run was started with, and checkpoints."""
    run = small_rows.copy(tmp_path)
    checkpoints = [path for path in (run / "checkpoints").rglob("*") if path.is_file()]
    for file in [run / "metrics.jsonl", run / "run.json", *checkpoints]:
        kept = file.read_bytes()
        for damage in (lambda data: data[: len(data) // 2], lambda data: data[:-2] + b"9" + data[-1:]):
            file.write_bytes(damage(kept))
            found = _problems(run)
            assert len(found) == 1, (file, found)
            assert found[0] in str(file) or str(file.parent) in found[0], (file, found)
        file.unlink()
        assert len(_problems(run)) == 1, file
        file.write_bytes(kept)
    assert _problems(run) == []
    examined(3 * (2 + len(checkpoints)), "edited or deleted files", at_least=12)


def test_an_edited_log_is_not_taken_into_a_result(tmp_path: Path) -> None:
    run = small_rows.copy(tmp_path)
    result, log = (run / "result.json").read_bytes(), run / "metrics.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"loss": ', b'"loss": 1', 1))
    done = small_rows.reproduce(tmp_path)
    assert done.returncode == 4, done.stderr
    assert "metrics.jsonl train: was edited" in done.stderr
    assert (run / "result.json").read_bytes() == result


DAMAGED = [b"", b"[" * 100_000, b'{"attempts": NaN}', b'{"attempts": 1e999}', b"\xff\xfe", b"null", b'{"stage": NaN}']


def test_a_receipt_that_cannot_be_read_counts_as_absent(tmp_path: Path, examined: Examined) -> None:
    """Nothing but the stage that it speaks of is looked at again, and it is said why."""
    run = small_rows.copy(tmp_path)
    receipts = Receipts(run, tmp_path / ".mpr")
    for number, content in enumerate(DAMAGED):
        receipts.path("train").with_suffix(".begun").write_bytes(content)
        assert receipts.begin("train") == 1, number
        receipts.path("search").write_bytes(content)
        assert receipts.read("search") is None, number
    done = small_rows.reproduce(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "search.json: cannot be read" in done.stderr
    assert _problems(run) == []
    examined(2 * len(DAMAGED), "damaged receipts")


def test_edited_receipts_and_results_are_named(tmp_path: Path, examined: Examined) -> None:
    run = small_rows.copy(tmp_path)
    files = [*(run / "receipts" / f"{stage}.json" for stage in STAGES), run / "result.json"]
    for file in files:
        kept = file.read_bytes()
        document = json.loads(kept)
        document["environment"]["mpr"] = "0.0.0"
        file.write_text(json.dumps(document), "utf-8")
        assert _problems(run) == [str(file)]
        file.write_bytes(kept)
    examined(len(files), "edited receipts and results", at_least=7)


def test_what_is_not_trusted_is_made_again_with_the_same_result(tmp_path: Path) -> None:
    run = small_rows.copy(tmp_path)
    before = {role: json.loads((run / "result.json").read_bytes())["scores"][role]["values"] for role in ("test",)}
    _flip(run / "rankings" / "test" / "run.trec")
    _flip(run / "model" / "model.safetensors")
    done = small_rows.reproduce(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "data      kept" in done.stdout
    for stage in ("train", "search"):
        assert f"{stage:<9} done again: run/" in done.stdout
    after = json.loads((run / "result.json").read_bytes())["scores"]
    assert {role: found["values"] for role, found in after.items()} == before
    assert _problems(run) == []


def test_a_model_of_older_code_is_refused_and_kept_on_request(tmp_path: Path) -> None:
    run = small_rows.copy(tmp_path)
    for stage in STAGES:
        path = run / "receipts" / f"{stage}.json"
        content = {**json.loads(path.read_bytes()), "code": "0" * 64}
        del content["digest"]
        sealed = {**content, "digest": json_digest(content)}
        path.write_text(json.dumps(sealed, indent=1, sort_keys=True) + "\n", "utf-8")
    done = small_rows.reproduce(tmp_path)
    assert done.returncode == 2
    assert "made by other code" in done.stderr
    assert "--older-code" in done.stderr
    assert (run / "model" / "manifest.json").exists()
    done = small_rows.reproduce(tmp_path, "--older-code")
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "result.json").read_bytes())["stages"]["train"]["code"] == "0" * 64


def test_a_run_of_no_known_system_is_refused(tmp_path: Path) -> None:
    run = small_rows.copy(tmp_path)
    about = run / pipeline.ABOUT
    about.write_bytes(about.read_bytes().replace(b'"trained"', b'"trainad"'))
    with pytest.raises(StorageError, match="names no system of a row: 'trainad'"):
        verification.opened(run, tmp_path / ".mpr")
