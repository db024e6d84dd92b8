"""Programs that show a run while it goes on (`training.report_to`): refused at once where one is not installed."""

from __future__ import annotations

from collections.abc import Iterable

from mpr.errors import Problems, RecipeError

INSTALLED_AS = {"tensorboard": "mpr[trackers]", "trackio": "mpr[trackers]"}


def refuse_absent(names: Iterable[str]) -> None:
    """transformers would raise out of the Trainer's constructor, after the data was prepared and the model built."""
    from transformers.integrations import get_reporting_integration_callbacks

    problems = Problems(RecipeError)
    for name in names:
        if name == "none":
            continue
        try:
            for kind in get_reporting_integration_callbacks([name]):
                kind()
        except ValueError as error:
            problems.add(str(error), key="training.report_to", fix="name one of these, or none")
        except (ImportError, RuntimeError):
            fix = f"pip install '{INSTALLED_AS.get(name, name)}', or --set training.report_to=none"
            problems.add(f"the tracker '{name}' is not installed here", key="training.report_to", fix=fix)
    problems.stop_if_any()
