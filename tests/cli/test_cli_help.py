"""Help teaches, is complete, and costs nothing."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

import dataver
import dataver_cli
import dataver_cli.commands
from dataver_cli.command import Command
from dataver_cli.errors import EXIT_CODES
from dataver_cli.group import LazyGroup
from dataver_cli.main import SECTIONS, cli, main
from dataver_cli.other_names import ALIASES, ANSWERS

ROOT = Path(__file__).parents[2]
TOP = [name for section in SECTIONS.values() for name in section]
HEAVY = (
    "dataver.ingest",
    "dataver.storage",
    "fsspec",
    "s3fs",
    "tqdm",
    "zstandard",
    "blake3",
    "pyfastcdc",
    "asyncio",
)


def walk(name: str) -> Command | LazyGroup:
    """Return a command or a group by its whole name, such as `lineage run`."""
    found: click.Command = cli
    for word in name.split():
        assert isinstance(found, LazyGroup)
        found = found.get_command(click.Context(found), word)  # type: ignore[assignment]
    assert isinstance(found, Command | LazyGroup), name
    return found


def find(name: str) -> Command:
    found = walk(name)
    assert isinstance(found, Command)
    return found


def meant(words: list[str]) -> tuple[Command, list[str]]:
    """Return the command that a line names, and the words behind its name."""
    group = isinstance(walk(words[0]), LazyGroup)
    return find(" ".join(words[: 1 + group])), words[1 + group :]


GROUPS = [name for name in TOP if isinstance(walk(name), LazyGroup)]
NAMES = [name for name in TOP if name not in GROUPS] + [
    f"{name} {each}" for name in GROUPS for each in walk(name).list_commands(click.Context(cli))
]


def test_every_command_file_is_listed_and_every_listed_command_has_a_file() -> None:
    """The table of commands and the folder of commands agree."""
    folder = Path(next(iter(dataver_cli.commands.__path__)))
    assert {_name(path) for path in folder.glob("*.py")} - {"--init"} == set(TOP)
    assert set(ALIASES.values()) <= set(TOP)
    for name in GROUPS:
        group = walk(name)
        folder = Path(dataver_cli.__file__).parent / group.package.rpartition(".")[2]
        listed = group.list_commands(click.Context(cli))
        assert {_name(path) for path in folder.glob("*.py")} - {"--init"} == set(listed)


def _name(module: Path) -> str:
    """Return the name of a module's command: `import_` has that of a word that Python reserves."""
    return module.stem.rstrip("_").replace("_", "-")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself(name: str) -> None:
    """A command has help that begins with its line in the table, examples, and help on every option shown."""
    command = find(name)
    *above, last = name.split()
    sections = walk(above[0]).sections if above else SECTIONS
    line = next(section[last] for section in sections.values() if last in section)
    assert (command.help or "").splitlines()[0] == line
    assert command.examples
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"{name} {parameter.opts} has no help"


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_understood(name: str) -> None:
    """Every example is a command line that the parser takes, and fits a terminal of 80 columns."""
    for line in find(name).examples:
        assert len(line.partition("  #")[0]) <= 76
        for part in re.split(r"&&|\||\$\(|>|\)", line.partition("  #")[0]):
            words = shlex.split(part.replace('"', "") if part.count('"') % 2 else part)
            if "dataver" in words[:1]:
                command, rest = meant(words[1:])
                command.make_context(command.name, rest)


@pytest.mark.parametrize("name", NAMES)
def test_a_command_that_prints_takes_json(name: str) -> None:
    """Programs can read every command's result, except of those that print bytes, scripts or a story."""
    options = {option for parameter in find(name).params for option in parameter.opts}
    assert ("--json" in options) == (name not in {"cat", "completion", "demo", "lineage export", "run"})


def test_reference_page_is_what_the_commands_say() -> None:
    """docs/cli.md is not stale."""
    script = ROOT / "scripts" / "cli_reference.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_documentation_lists_the_exit_codes() -> None:
    """The table in docs/operations.md is the program's."""
    page = (ROOT / "docs/operations.md").read_text()
    for code, meaning in EXIT_CODES.items():
        assert f"| {code} | {meaning} |" in page


def test_names_of_other_tools_are_answered_with_real_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """An answer names commands and options that exist; no such name is a command or an alias itself."""
    assert not set(ANSWERS) & {*TOP, *ALIASES}
    assert not set(ALIASES) & set(TOP)
    for name, answer in ANSWERS.items():
        for words in re.findall(r"`dataver ([^`]+)`", answer):
            command, rest = meant(words.split())
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in rest if word.startswith("-")} <= known, f"{name}: {words}"
    assert main(["get_local_copy"]) == 2
    said = "unknown command 'get_local_copy'. `dataver fetch REF` prints a read-only folder."
    assert said in capsys.readouterr().err
    assert main(["squash"]) == 2
    assert "Every version is complete; `dataver create" in capsys.readouterr().err


def test_near_names_are_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    """Aliases are suggested too."""
    for name, near in (
        ("push-all", "push"),
        ("sttus", "status"),
        ("chekout", "checkout"),
        ("finalise", "finalize"),
    ):
        assert main([name]) == 2
        assert f"unknown command {name!r}. Did you mean {near}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "usual"),
    [
        ("help", "--help"),
        ("help fetch", "fetch --help"),
        ("help lineage run", "lineage run --help"),
        ("lineage help run", "lineage run --help"),
        ("help lineage", "lineage --help"),
        ("version", "--version"),
    ],
)
def test_help_and_version_are_commands_too(
    words: str, usual: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """They print what the options print."""
    assert main(usual.split()) == 0
    shown = capsys.readouterr().out
    assert main(words.split()) == 0
    assert capsys.readouterr().out == shown
    assert shown


def test_help_names_no_alias_as_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """An alias is the command itself, with the same options, and is not listed."""
    main(["--help"])
    listed = re.findall(r"^  ([a-z-]+)  ", capsys.readouterr().out, re.MULTILINE)
    assert not set(ALIASES) & set(listed)
    for alias, name in ALIASES.items():
        assert walk(alias) is walk(name)


def test_hints_of_the_library_name_real_commands() -> None:
    """A hint such as "`dataver drafts` lists them" names a command and options that exist."""
    sources = Path(dataver.__file__ or "").parent.rglob("*.py")
    for path in sources:
        for words in re.findall(r"`dataver ([^`]+)`", path.read_text()):
            if not words.startswith("{"):
                command, rest = meant(words.partition(" -- ")[0].split())
                known = {option for parameter in command.params for option in parameter.opts}
                assert {word for word in rest if word.startswith("--")} <= known, f"{path}: {words}"


def test_help_imports_no_library_of_data() -> None:
    """`dataver --help` and an import of dataver load nothing heavy."""
    show = f"print([each for each in {HEAVY!r} if each in sys.modules])"
    for code in (
        f"import sys; from dataver_cli.main import main; main(['--help']); {show}",
        f"import sys, dataver; {show}",
    ):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.slow
def test_help_and_import_are_quick() -> None:
    """Both take less than 150 ms of a processor, interpreter included, at the best of ten."""
    for code in ("from dataver_cli.main import main; main(['--help'])", "import dataver"):
        best = min(_seconds(code) for _ in range(10))
        assert best < 0.150, f"{code}: {best:.3f} s"


def _seconds(code: str) -> float:
    """Return the processor time of a new interpreter, which other processes beside it do not change."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system
