"""A stand-in Hub that this process is logged in to, for tests that push and pull by the real client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.hub_server import HubServer


@contextmanager
def logged_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with HubServer() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.endpoint)
        monkeypatch.setenv("HF_TOKEN", found.token)
        yield found


@contextmanager
def reading(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[HubServer]:
    """The same, and whatever this process downloads comes from there, into a cache of its own."""
    with logged_in(monkeypatch) as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.endpoint)
        place = found.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", place)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        yield found
