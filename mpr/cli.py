"""The command line. Each command imports what it needs when it runs, so that `mpr --help` answers at once."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mpr.runtime import command, installation
from mpr.verbs import check, compare, data, generate, init, leaderboard, pin, publishing, reproduce, search, training

try:
    from mpr import __version__
except ImportError:  # the other package of this name lies over this one
    sys.exit(f"mpr: {installation.stranger('of unknown version') or 'mpr/__init__.py is not ours'}")


class _Commands(TyperGroup):
    """Ctrl-C reaches `main`: typer would make it an exit code of its own, without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise command.stopped("stopped; what was finished is kept") from stop


app = typer.Typer(
    cls=_Commands,
    name="mpr",
    help="Train and reproduce dense retrievers with several positive passages per question. "
    "A recipe is one row of a table: check it, plan it, look at its data, run it.",
    epilog="Exit codes: 0 done, 2 recipe or data refused, 3 numbers refused, 4 storage refused, "
    "75 interrupted (run the same command again), 1 a bug in mpr.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print version and place.")] = False) -> None:
    if version:
        typer.echo(installation.shown(__version__))
        raise typer.Exit


for verb in (
    *(reproduce.reproduce, reproduce.status, reproduce.verify),
    *(init.init, init.recipes),
    *(check.check, check.plan, pin.pin, data.data, data.audit),
    *(training.mine, training.label, training.train, training.merge),
    *(search.encode, search.search, search.evaluate, compare.compare),
    *(generate.judge, generate.generate, generate.augment),
    *(compare.fuse, check.reference),
    *(publishing.push, publishing.pull),
):
    app.command()(verb)
app.add_typer(leaderboard.app, name="leaderboard")


def main(arguments: list[str] | None = None) -> None:
    """Entry of the `mpr` command: refusals are one screen without a traceback, with their exit code."""
    if beside := installation.stranger(__version__):
        typer.echo(f"mpr: {beside}", err=True)
    with command.running():
        try:
            result: Any = app(arguments, standalone_mode=False)
        except typer.Exit as leaving:
            sys.exit(leaving.exit_code)
        except Exception as error:
            usage = getattr(error, "format_message", None)  # click's own refusals of bad arguments
            if usage is None:
                raise
            command.refuse(f"{usage()} (see mpr --help)", 2)
        sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
