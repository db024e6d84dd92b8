"""A process whose Hub is the one of a test: does what it is asked, each time in a fresh child, which may be killed.

huggingface_hub fixes endpoint and offline mode when it is imported, so a test that calls it through mpr needs another
process. This one imports everything once and forks for each call:

```python
with HubServer() as server, Client(server.environment(tmp_path / "cache")) as client:
    done = client.call("from_hub", "tester/tiny", commit, str(home))
    assert done.value == str(home / "models" / ...)
    client.call("from_hub", "tester/tiny", commit, str(home), network=False).error   # no socket connects
```
"""

from __future__ import annotations

import errno
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]
NOBODY = 65534


@dataclass
class Done:
    """How a call ended: with a value, with an error of ours, with any other exception, or killed."""

    value: Any = None
    kind: str = ""
    """Class of the error."""
    error: str = ""
    code: int = 0
    """The exit code that a command would have."""
    log: list[str] = field(default_factory=list)
    connections: int = 0
    """Attempts to connect where there was no network."""
    killed: int = 0


class Client:
    """Talks to the process."""

    def __init__(self, environment: dict[str, str], *modules: str) -> None:
        """`modules` are imported before the first call, so that not every child has to."""
        command = [sys.executable, "-m", "tests.hub_client", *modules]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )
        self.child = 0
        self.started = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(600)

    def call(self, do: str, *arguments: Any, **options: Any) -> Done:
        """`network=False` lets no socket connect, `offline=True` does what HF_HUB_OFFLINE does when it is read,
        `nobody=True` gives up root, `hurried=True` never sleeps."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.started.clear()
        print(json.dumps({"do": do, "arguments": arguments, **options}), file=self.process.stdin, flush=True)
        self.child = int(self.process.stdout.readline())
        self.started.set()
        return Done(**json.loads(self.process.stdout.readline()))

    def kill(self) -> None:
        """The child of the call that is on its way; from another thread."""
        assert self.started.wait(600)
        os.kill(self.child, signal.SIGKILL)


def from_hub(name: str, revision: str | None, home: str, **options: Any) -> str:
    from mpr.models import locate

    return str(locate.from_hub(name, revision, Path(home), **options))


def model_folder(text: str, home: str, revision: str | None = None, **options: Any) -> str:
    from mpr.models import locate

    return str(locate.model_folder(text, Path(home), revision=revision, **options))


def base(name: str, revision: str | None) -> dict[str, Any]:
    """What is known of the weights of an encoder to start from."""
    from mpr.models import pretrained

    return pretrained.load(name, revision).base.model_dump()


def pieces(name: str, revision: str | None) -> int:
    """How many its tokenizer knows."""
    from mpr.data import _vocabulary
    from mpr.recipe.keys_towers import Towers

    sizes = {"question_length": 16, "passage_length": 16}
    towers = Towers(base=name, revision=revision, share=True, pooling="cls", normalize=False, title="pair", **sizes)
    return int(_vocabulary.load(towers, Path(), None, None).get_vocab_size())  # type: ignore[arg-type]


_connections = 0


def _cut_off() -> None:
    """No socket of this process connects to anything from now on."""
    import socket

    def refuse(*arguments: Any, **options: Any) -> Any:
        global _connections
        _connections += 1
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    socket.socket.connect = socket.socket.connect_ex = refuse  # type: ignore[method-assign]
    socket.create_connection = socket.getaddrinfo = refuse


def _answered(order: dict[str, Any]) -> dict[str, Any]:
    from mpr.errors import MprError

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("mpr").addHandler(handler)
    if not order.pop("network", True):
        _cut_off()
    if order.pop("offline", False):
        import huggingface_hub

        huggingface_hub.constants.HF_HUB_OFFLINE = True
    if order.pop("hurried", False):
        time.sleep = lambda seconds: None
    if order.pop("nobody", False) and os.geteuid() == 0:
        os.setuid(NOBODY)
    found: dict[str, Any] = {}
    try:
        found["value"] = globals()[order.pop("do")](*order.pop("arguments"), **order)
    except MprError as error:
        found |= {"kind": type(error).__name__, "error": str(error), "code": error.exit_code}
    except BaseException as error:  # noqa: BLE001 - the test is told, and sees that it is none of ours
        found |= {"kind": type(error).__name__, "error": str(error), "code": 1}
    return found | {"log": said, "connections": _connections}


def _forked(order: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        with open(writing, "w") as file:
            json.dump(_answered(order), file)
        os._exit(0)
    os.close(writing)
    print(child, flush=True)
    with open(reading) as file:
        text = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(text) if status == 0 else {"killed": -status}


if __name__ == "__main__":
    for module in ("huggingface_hub.hf_api", "mpr.models.locate", *sys.argv[1:]):
        importlib.import_module(module)
    for line in sys.stdin:
        print(json.dumps(_forked(json.loads(line))), flush=True)
