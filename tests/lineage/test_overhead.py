"""What a caller waits for because lineage is on; `python -m benchmarks.recording` measures how long."""

import json

CODE = """
import json, sys, threading
import dataver
repo = dataver.open()
caller, seen = threading.get_ident(), []

def heard(event, args):
    if threading.get_ident() == caller and event in ("import", "open", "socket.connect", "subprocess.Popen"):
        seen.append((event, str(args[0])))

sys.addaudithook(heard)
for _ in range(3):
    del seen[:]
    repo.fetch("cats")
    print(json.dumps(seen))
"""


def fetches(lab, mode: str) -> list[list[tuple[str, str]]]:
    """Return what the calling thread imports, opens and starts in each of three fetches of one process."""
    said = lab.run(CODE, environment={"DATAVER_LINEAGE": mode})
    return [[(event, name) for event, name in json.loads(line)] for line in said.splitlines()]


def test_the_first_fetch_imports_our_own_modules_and_few_of_them(lab) -> None:
    """No other package, no command, no network; one file is written: the queue's."""
    (off, *_), (on, *_) = fetches(lab, "off"), fetches(lab, "on")
    more = [each for each in on if each not in off]
    imported = [name for event, name in more if event == "import"]
    foreign = {name for name in imported if not name.startswith("dataver.")}
    assert foreign <= {"atexit", "pwd", "fcntl"}
    assert 5 < len(imported) <= 20  # fewer than five: the hook heard nothing
    assert {event for event, _ in more} == {"import", "open"}
    assert len([name for event, name in more if name.startswith(str(lab.queue))]) == 1


def test_later_fetches_open_nothing_more(lab) -> None:
    """What recording needs is open by then."""
    off, on = ([[event for event, _ in each] for each in fetches(lab, mode)[1:]] for mode in ("off", "on"))
    assert on == off
