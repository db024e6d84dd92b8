"""To the Hub and back: push a finished run, pull a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpr.verbs.arguments import Home, Quiet, Root


def push(
    run: Annotated[Path, typer.Argument(help="A finished run folder, with its result.json.", metavar="RUN")],
    repo: Annotated[str, typer.Argument(help="Repository on the Hub: owner/name.", metavar="REPO")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would go: files and card.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Nobody else may see it, or it is not pushed.")] = False,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="As a pull request instead of a commit.")] = False,
    merged: Annotated[bool, typer.Option("--merged", help="Add LoRA adapters to the weights first.")] = False,
    base: Annotated[
        Path | None,
        typer.Option(help="With --merged: the base's folder, if it is elsewhere now.", metavar="FOLDER"),
    ] = None,
    passage_base: Annotated[
        Path | None, typer.Option(help="The same of the passage encoder's base.", metavar="FOLDER")
    ] = None,
    draft: Annotated[
        bool, typer.Option("--draft", help="Push what is no row, to a private repository; the card says why.")
    ] = False,
    candidates: Annotated[
        bool, typer.Option("--candidates", help="Also the mined candidates, to REPO-candidates.")
    ] = False,
    vectors: Annotated[bool, typer.Option("--vectors", help="Also the vectors, to REPO-vectors.")] = False,
    baseline: Annotated[
        list[Path] | None, typer.Option(help="Run folder of a baseline to show beside it.", metavar="RUN")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="The recipe's file, where it is not in the run folder.", metavar="FILE")
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--license", help="The Hub's name of the model's licence, if you know it.")
    ] = None,
    public: Annotated[
        list[str] | None, typer.Option(help="A user or host name that may be told.", metavar="NAME")
    ] = None,
    home: Home = Path(".mpr"),
    quiet: Quiet = False,
) -> None:
    """Publish a run on the Hub in one commit: model, recipe, result, runs, and a card rendered from them.

    Everything is read for secrets first. The token is that of `hf auth login` or $HF_TOKEN.
    Example: mpr push runs/quickstart-seed42 me/quickstart --dry-run
    """
    from mpr.publishing import hub
    from mpr.publishing.publication import PushOptions

    data = tuple(kind for kind, asked in (("candidates", candidates), ("vectors", vectors)) if asked)
    options = PushOptions(
        run, repo, recipe, baselines=tuple(baseline or ()), licence=licence, draft=draft, merged=merged, data=data,
        home=home, public=tuple(public or ()), base=base, passage_base=passage_base,
    )  # fmt: skip
    wanted = hub.publications(options)
    if dry_run:
        for each in wanted:
            typer.echo(f"{each.kind} {each.repo}: {each.title}")
            for file in each.files:
                made = ", compressed" if file.raw is not None else ""
                typer.echo(f"{file.bytes:>14,} bytes  {file.sha256}  {file.name}{made}")
            typer.echo(f"\n{each.card}")
        typer.echo("nothing was sent: this was a dry run")
        return
    if quiet:
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
    for each in wanted:
        pushed = hub.push(each, private=private, create_pr=create_pr)
        for name in pushed.removed:
            typer.echo(f"removed: {name}, which an earlier push left")
        what = pushed.request or pushed.url if pushed.changed else "it is all there already"
        typer.echo(f"pushed: {each.repo}@{pushed.commit}  {what}")


def pull(
    name: Annotated[
        str, typer.Argument(help="owner/name, owner/name@<commit>, or a row of the leaderboard.", metavar="NAME")
    ],
    revision: Annotated[
        str | None,
        typer.Option(help="Commit, 40 hex digits; default the newest, which is said.", metavar="COMMIT"),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Also copy it to this folder, which must not exist.", metavar="FOLDER")
    ] = None,
    root: Root = Path(),
    home: Home = Path(".mpr"),
    quiet: Quiet = False,
) -> None:
    """Bring a model that mpr pushed to this machine, every byte verified against its manifest.

    A row's name stands for the repository and commit that the leaderboard records, and for the model it measured.
    Example: mpr pull owner/name --revision 0123456789abcdef0123456789abcdef01234567
    """
    from mpr.publishing import hub

    measured = None
    if "/" not in name:
        name, measured = _published(root, name, revision)
    typer.echo(f"model: {hub.pull(name, revision, home, to, quiet, measured)}")


def _published(root: Path, row: str, revision: str | None) -> tuple[str, str]:
    """The pinned repository of a row, which is said, and the digest of its model."""
    from mpr.errors import RecipeError
    from mpr.publishing import board_entries

    if revision is not None:
        fix = "leave it out, or name the repository"
        raise RecipeError("the leaderboard says which commit a row is at", key="--revision", fix=fix)
    found = board_entries.checkpoint_of(root, row)
    typer.echo(f"row {row}: {found.repo}@{found.revision}")
    return f"{found.repo}@{found.revision}", found.model
