"""A child process that runs image libraries written in C, which end or block the process on some damaged files.

GDCM aborts (an uncaught C++ exception) on about one damaged image in a hundred; any of them may hang, ask for memory without
end, or print. So each process that converts keeps one child, started at the first file that needs it. The child's death or
silence becomes an error of that one file, and what the libraries print is caught.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np

# Reading two views of 1024x256 takes 30 ms in the slowest encoding; a file that needs seconds is damaged.
MOST_SECONDS = 4.0
# Starting Python takes 0.3 s, importing SimpleITK 0.2 s, each many times that on a busy machine.
START_SECONDS = 60.0
# Address space of the child, most of it the libraries'; a damaged size must not take the machine's memory.
MOST_MEMORY = 2 << 30
# Threads gain nothing on images this small, and each reserves memory.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


class ChildError(Exception):
    """What went wrong in the child; kind: the name of the exception's class there."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class _Child:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],  # where this package is found, installed or not
            env={**os.environ, **_ENVIRONMENT},
        )
        self._imported: set[str] = set()

    def ask(self, task: str, library: str, arguments: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        if library not in self._imported:
            self._exchange({"task": "import", "library": library}, b"", START_SECONDS)
            self._imported.add(library)
        return self._exchange({"task": task, "arguments": arguments}, data, MOST_SECONDS)

    def _exchange(self, request: dict[str, Any], data: bytes, seconds: float) -> tuple[dict[str, Any], bytes]:
        sending, receiving = self._process.stdin, self._process.stdout
        assert sending is not None
        assert receiving is not None
        has_expired = threading.Event()

        def expire() -> None:
            has_expired.set()
            self._process.kill()

        alarm = threading.Timer(seconds, expire)
        alarm.daemon = True
        alarm.start()
        try:
            sending.write(json.dumps({**request, "length": len(data)}).encode() + b"\n" + data)
            sending.flush()
            answer = json.loads(receiving.readline())
            content = receiving.read(answer["length"])
            if len(content) < answer["length"]:
                raise EOFError
        except (OSError, ValueError, EOFError) as error:
            self.end()
            raise ChildError(f"takes longer than {seconds:g} s" if has_expired.is_set() else "crashes the library") from error
        except BaseException:  # Ctrl-C: the answer to come would be taken for the next one
            self.end()
            raise
        finally:
            alarm.cancel()
        return answer, content

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            try:
                if stream is not None:
                    stream.close()
            except OSError:  # a request that the child never read
                pass


# One child for each process, which a forked process must not share: their requests would mix.
_children: dict[int, _Child] = {}
_lock = threading.Lock()


def ask(task: str, library: str, arguments: dict[str, Any], data: bytes = b"") -> tuple[np.ndarray, dict[str, Any]]:
    """Have the child do a task with a library it imports first; return an array and the rest of its answer.

    task: "decode" (`decoding.decode_here`) or "load" (`array_files.load_here`). Raises ChildError for what fails in the child,
    when it dies, and when it takes longer than 4 s.
    """
    with _lock:
        child = _children.get(os.getpid())
        if child is None or not child.is_alive():
            child = _children[os.getpid()] = _Child()
        answer, content = child.ask(task, library, arguments, data)
    if "error" in answer:
        raise ChildError(answer["error"], answer["kind"])
    return np.frombuffer(content, answer["dtype"]).reshape(answer["shape"]), answer


@atexit.register
def _end_child() -> None:
    child = _children.pop(os.getpid(), None)
    if child is not None:
        child.end()


def _serve(requests: IO[bytes], answers: IO[bytes], printed: IO[bytes]) -> None:
    """Answer requests until the parent is gone. printed: what the libraries write on stdout and stderr."""
    import importlib

    from dataset_conversion.readers import array_files, decoding

    while line := requests.readline():
        request = json.loads(line)
        data = requests.read(request["length"])
        answer: dict[str, Any] = {}
        content = b""
        try:
            if request["task"] == "import":
                importlib.import_module(request["library"])
            else:
                arguments = request["arguments"]
                if request["task"] == "decode":
                    pixels = decoding.decode_here(data, **arguments)
                else:
                    pixels, answer["spacing"] = array_files.load_here(Path(arguments["path"]), arguments["suffix"])
                content = pixels.tobytes()
                answer |= {"dtype": pixels.dtype.str, "shape": pixels.shape}
        except Exception as error:  # each library fails in its own way on damaged files
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            answer = {"error": lines[-1] if lines else type(error).__name__, "kind": type(error).__name__}
        printed.seek(0)
        answer["printed"] = printed.read(1000).decode(errors="replace").strip()
        printed.seek(0)
        printed.truncate()
        answers.write(json.dumps({**answer, "length": len(content)}).encode() + b"\n" + content)
        answers.flush()


def _main() -> None:
    import warnings

    warnings.simplefilter("ignore")
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The libraries write where we read, so there must be one position and no buffer.
    with os.fdopen(os.dup(1), "wb") as answers, tempfile.TemporaryFile(buffering=0) as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
        _serve(sys.stdin.buffer, answers, printed)


if __name__ == "__main__":
    _main()
