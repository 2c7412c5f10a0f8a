"""Files that commands write, and progress bars."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import click


@contextmanager
def whole_file(path: str) -> Iterator[Callable[[bytes], None]]:
    """Open a file that gets its name when it is complete; yield a function that writes to it.

    `-` is standard output.

    Raises:
        ClickException: the file cannot be written.
    """
    part = Path(f"{path}.part")
    with _writing(path):
        file = sys.stdout.buffer if path == "-" else part.open("wb")

    def write(piece: bytes) -> None:
        with _writing(path):
            file.write(piece)

    try:
        yield write
        with _writing(path):
            file.flush()
            if path != "-":
                part.replace(path)
    finally:
        if path != "-":
            part.unlink(missing_ok=True)
            with suppress(OSError):
                file.close()


@contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(1) from None
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def progress(label: str, length: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal; yield a function that advances it."""
    with click.progressbar(
        None if length else count(),
        length=length or None,
        label=label,
        show_pos=True,
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
    ) as bar:
        yield bar.update
