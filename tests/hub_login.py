"""A stand-in Hub that this process is logged in to, for tests that push and pull by the real client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
