"""Connections between the processes of a run: JSON objects, one a line, and a beat as a sign of life."""

import contextlib
import json
import socket
import threading
from typing import Any

BEAT, SILENCE = 10.0, 60.0  # seconds between two beats; without anything from the other end, after which it counts as lost
_LONGEST = 2**26  # bytes of a line


class Link:
    """One end of a connection; any thread may send, one thread receives. It raises nothing when the other end is gone."""

    def __init__(self, connection: socket.socket):
        connection.settimeout(SILENCE)
        self._connection, self._sending, self._is_closed = connection, threading.Lock(), threading.Event()
        self._incoming = connection.makefile("rb")
        threading.Thread(target=self._beat, name="beat", daemon=True).start()

    def send(self, **message: Any) -> None:
        """Sends a JSON object, unless the other end is gone."""
        line = json.dumps(message).encode() + b"\n"
        with self._sending, contextlib.suppress(OSError):
            self._connection.sendall(line)

    def receive(self) -> dict[str, Any] | None:
        """The next object; None when the other end is closed, silent for `SILENCE` seconds, or sends something else."""
        try:
            while True:
                message = json.loads(self._incoming.readline(_LONGEST))
                if not isinstance(message, dict):
                    return None
                if "beat" not in message:
                    return message
        except (OSError, ValueError):  # at the end the line is empty, which is no JSON
            return None

    def close(self) -> None:
        """Ends the connection, at the other end too."""
        self._is_closed.set()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _beat(self) -> None:
        while not self._is_closed.wait(BEAT):
            self.send(beat=True)
