"""Watch mode: the current exercise is checked whenever its file is saved; one key for each thing one may want next.

Nothing is ever cleared from the screen, and keys that are pressed during a check are dropped. The terminal is in its usual mode
again however this ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import views
from .layout import Style, wrap
from .report import report
from .words import say
from .workspace import Workspace, WorkspaceError

POLL = 0.3  # seconds between two looks at the file


def watch(workspace: Workspace, style: Style, poll: bool = False, seed: int = 0) -> int:
    """Check and wait, until Q; the exit status."""
    with keys() as read_key, changes(workspace.folder, poll) as changed:
        session = Session(workspace, style, seed)
        session.check()
        while not session.ended:
            ready, _, _ = select.select([sys.stdin, changed], [], [], POLL if poll else 10 * POLL)
            if changed in ready:
                os.read(changed, 1 << 16)
            if sys.stdin in ready:
                session.press(read_key(), read_key)
            elif session.is_new():
                session.check()
    return 0


class Session:
    """The current exercise, the text of it that was checked last, and what the keys do."""

    def __init__(self, workspace: Workspace, style: Style, seed: int) -> None:
        self.workspace, self.style, self.seed = workspace, style, seed
        self.checked: str | None = None
        self.ended = False

    def show(self, *lines: str) -> None:
        print("\n".join(lines), flush=True)

    def source(self) -> str | None:
        """What stands in the file now, or None while there is no readable one."""
        try:
            return self.workspace.source(self.workspace.current)
        except (WorkspaceError, OSError):
            return None

    def is_new(self) -> bool:
        return self.source() != self.checked

    def check(self) -> None:
        """Check the current exercise and say what comes next."""
        workspace, lang = self.workspace, self.style.lang
        workspace.refresh()
        exercise, source = workspace.current, self.source()
        self.checked = source
        path = workspace.shown(workspace.path(exercise))
        if source is None:
            self.show("", *wrap(say("gone", lang, path=path, id=exercise.id)))
            return
        self.show("", say("running", lang))
        found, place = workspace.check(exercise, self.seed, source=source)
        self.show(*report(exercise, found, self.style, place, source=source))
        if found["verdict"] == "passed":
            self.show(say("go on" if workspace.following() else "all solved", lang))
        else:
            self.show(*wrap(say("watching", lang, path=path)))
        self.show(self.style.paint(say("keys", lang), "dim"))
        drop_typed()

    def press(self, key: str, read_key: Callable[[], str]) -> None:
        """Do what a key stands for. An end of input ends the session."""
        self.workspace.refresh()
        workspace, exercise, style = self.workspace, self.workspace.current, self.style
        actions: dict[str, Callable[[], Any]] = {
            "h": lambda: self.show("", *views.hint(exercise, workspace.hint(exercise), style)),
            "l": lambda: self.show("", *views.table(workspace, views.chosen(None, False, style.lang), style)),
            "d": self.diff, "n": self.next, "s": self.skip, "r": self.check, "q": self.quiz,
            "x": lambda: self.reset(read_key), "Q": self.quit, "": self.quit, "\x04": self.quit,
        }  # fmt: skip
        if key in actions:
            actions[key]()
        elif key.isprintable() and not key.isspace():
            self.show(*wrap(say("unknown key", style.lang, pressed=key)), say("keys", style.lang))

    def next(self) -> None:
        if self.workspace.solved(self.workspace.current.id):
            self.arrive()
        else:
            self.show(*wrap(say("unsolved key", self.style.lang, id=self.workspace.current.id)))

    def skip(self) -> None:
        self.workspace.skip("")
        self.arrive()

    def arrive(self) -> None:
        """Go to the exercise that follows, and check it."""
        following = self.workspace.following()
        if following is None:
            self.show(say("all solved", self.style.lang))
            return
        self.workspace.go(following)
        self.check()

    def diff(self) -> None:
        workspace, exercise = self.workspace, self.workspace.current
        if workspace.solved(exercise.id):
            self.show("", *views.diff(workspace, exercise, self.style))
        else:
            self.show(*wrap(say("diff after", self.style.lang, id=exercise.id)))

    def reset(self, read_key: Callable[[], str]) -> None:
        workspace, exercise = self.workspace, self.workspace.current
        path = workspace.shown(workspace.path(exercise))
        self.show(say("ask reset", self.style.lang, path=path) + " y/n")
        if read_key() in ("y", "Y"):
            self.show(*wrap(views.put_back(workspace, exercise, workspace.reset(exercise), self.style)))
            self.check()

    def quiz(self) -> None:
        """A card on the topic, by `minidl quiz`, which has the terminal for as long as it takes."""
        command = [sys.executable, "-m", "minidl", "quiz", "--count", "1", "--lang", self.style.lang]
        home = {"MINIDL_HOME": str(self.workspace.folder.resolve())}  # the cards are kept beside the exercises
        with usual():
            subprocess.run([*command, *(["--plain"] if self.style.plain else [])], env=os.environ | home, check=False)
        self.workspace.refresh()
        self.show(self.style.paint(say("keys", self.style.lang), "dim"))

    def quit(self) -> None:
        self.show(say("bye", self.style.lang, done=self.workspace.done, all=self.workspace.total))
        self.ended = True


@contextlib.contextmanager
def keys() -> Iterator[Callable[[], str]]:
    """The terminal gives every key at once and does not show it; afterwards, whatever happens, it is as before.

    Gives a function that waits for a key. Ctrl-C stays KeyboardInterrupt; a request to end (SIGTERM, SIGHUP) becomes SystemExit.
    """
    import termios
    import tty

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)

    def end(received: int, _: Any) -> None:
        raise SystemExit(128 + received)

    def again(*_: Any) -> None:  # in the foreground after Ctrl-Z
        tty.setcbreak(number)

    handlers: dict[int, Any] = {signal.SIGTERM: end, signal.SIGHUP: end, signal.SIGCONT: again}
    old = {received: signal.signal(received, handler) for received, handler in handlers.items()}
    try:
        tty.setcbreak(number)
        yield lambda: _letter(number)
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
        for received, handler in old.items():
            signal.signal(received, handler)


def _letter(number: int) -> str:
    """One key; of a key that sends several bytes, such as an arrow, all of them."""
    data = os.read(number, 1)
    if data == b"\x1b" or data >= b"\x80":
        while select.select([number], [], [], 0.01)[0]:
            data += os.read(number, 1)
    return data.decode(errors="replace")


@contextlib.contextmanager
def usual() -> Iterator[None]:
    """The terminal as programs expect it, for as long as another program has it."""
    import termios

    number = sys.stdin.fileno()
    now = termios.tcgetattr(number)
    wanted = termios.tcgetattr(number)
    wanted[3] |= termios.ICANON | termios.ECHO
    termios.tcsetattr(number, termios.TCSADRAIN, wanted)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, now)


def drop_typed() -> None:
    """Forget the keys that were pressed meanwhile."""
    import termios

    with contextlib.suppress(termios.error, ValueError):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


@contextlib.contextmanager
def changes(folder: Path, poll: bool) -> Iterator[int]:
    """A file descriptor that becomes readable when something in the folder has been saved.

    With watchfiles; without it, or with `poll`, never: then the caller looks at its one file from time to time.
    """
    reading, writing = os.pipe()
    stop = threading.Event()
    thread = None
    if not poll:
        with contextlib.suppress(ImportError):
            from watchfiles import watch as watching

            def listen() -> None:
                for _ in watching(folder, stop_event=stop, debounce=150, step=50, raise_interrupt=False):
                    os.write(writing, b".")

            thread = threading.Thread(target=listen, daemon=True)
            thread.start()
    try:
        yield reading
    finally:
        stop.set()
        if thread is not None:
            thread.join(2)
        os.close(reading)
        os.close(writing)
