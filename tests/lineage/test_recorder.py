"""What a process fetches and makes is linked to its run: real processes, a real repository."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dataver.errors import InvalidInput
from dataver.formats.event import Subset
from dataver.lineage.attribution.owner import key_of

FETCH = "import dataver; dataver.fetch('cats@1.0.0')"


def test_a_fetch_of_a_script_is_linked_to_a_run_of_its_own(lab) -> None:
    """Without a line of code: which version, which part, by whom, with what."""
    lab.run("import dataver; dataver.fetch('cats', include=['train/**'])", "--epochs", "3")
    (event,) = lab.events()
    (link,) = event.links
    assert event.run.key.startswith("dataver:")
    assert (event.run.outcome, event.run.ended is not None) == ("finished", True)
    assert event.run.facts["argv"][1:] == ["--epochs", "3"]
    assert {"host", "user", "python", "platform", "packages"} <= event.run.facts.keys()
    assert (link.role, link.dataset, link.label, link.how) == ("input", "cats", "1.0.1", "fetch")
    assert (link.subset, link.files, link.size) == (Subset(patterns=("train/**",)), 1, 2)
    assert b"pytest==" in lab.attachment(event.run.facts["packages"])
    assert not list(lab.queue.iterdir())


def test_the_same_fetch_twice_is_one_link_and_one_object(lab) -> None:
    """What was noted needs no repeating; another part of the version is another link."""
    lab.run(
        """
        import dataver
        for _ in range(3):
            dataver.fetch("cats@1.0.0")
            dataver.fetch("cats", include="train/**")
            dataver.fetch("cats", include=["train/**", "train/**"])
        """
    )
    (event,) = lab.events()
    assert {(link.label, bool(link.subset)) for link in event.links} == {("1.0.0", False), ("1.0.1", True)}
    assert len(event.links) == 2


def test_copies_of_a_repository_each_have_what_was_read_of_them(lab) -> None:
    """Of one process, and of one that was killed and whose queue another one sends."""
    shutil.copytree(lab.repository, lab.root / "copy")
    lab.run(
        """
        import dataver, os
        copy = dataver.open("../copy")
        copy.fetch("cats@1.0.0")
        dataver.fetch("cats@1.0.1")
        if os.fork() == 0:
            with dataver.run(key="t:killed"):
                copy.fetch("cats@1.0.1")
            os._exit(0)
        os.wait()
        """
    )
    lab.run("import dataver; dataver.open().lineage.sync(); dataver.open('../copy').lineage.sync()")
    (here,) = lab.links().values()
    lab.repository = lab.root / "copy"
    there = lab.links()
    assert here == {("input", "1.0.1", "fetch")}
    assert there.pop("t:killed") == {("input", "1.0.1", "fetch")}
    assert list(there.values()) == [{("input", "1.0.0", "fetch")}]


def test_turned_off_nothing_is_noted(lab) -> None:
    """`DATAVER_LINEAGE=off`."""
    lab.run(FETCH, environment={"DATAVER_LINEAGE": "off"})
    assert lab.events() == lab.waiting() == []


def test_a_mistyped_switch_is_told(lab) -> None:
    """It does not turn lineage off."""
    told = lab.run(FETCH, environment={"DATAVER_LINEAGE": "of"})
    assert "unknown value 'of' of DATAVER_LINEAGE, which counts as on" in told
    assert len(lab.events()) == 1


def test_runs_that_the_user_names_nest(lab) -> None:
    """Each gets what happens inside; the inner one knows the outer one; an exception makes it fail."""
    lab.run(
        """
        import dataver
        with dataver.run("outer") as outer:
            dataver.fetch("cats@1.0.0")
            try:
                with dataver.run("inner", key="paper:fig/2") as inner:
                    dataver.fetch("cats@1.0.1")
                    raise ValueError
            except ValueError:
                pass
            dataver.fetch("cats@1.0.1", include="labels.csv")
        print(outer.key)
        """
    )
    runs = {event.run.name: event for event in lab.events()}
    assert runs["outer"].run.outcome == "finished"
    assert [link.label for link in runs["outer"].links] == ["1.0.0", "1.0.1"] or len(runs["outer"].links) == 2
    assert (runs["inner"].run.key, runs["inner"].run.outcome) == ("paper:fig/2", "failed")
    inner = {link.label: link.how for link in runs["inner"].links}
    assert inner == {"1.0.0": "available", "1.0.1": "fetch"}  # the outer one had fetched it before
    assert [context.key for context in runs["inner"].run.contexts] == [runs["outer"].run.key]


def test_a_run_declares_what_it_did_by_other_means(lab) -> None:
    """`use` and `produced` take references and versions; an unknown one is an error of the caller's."""
    lab.run(
        """
        import dataver
        repo = dataver.open()
        with dataver.run("by hand") as run:
            dataver.use("cats@1.0.0", include="labels.csv")
            run.use("cats@1.0.0", include="train/**")
            run.produced(repo.version("cats@1.0.1"))
            try:
                run.use("cats@9.9.9")
            except dataver.NotFound:
                print("not found")
        """
    )
    (event,) = lab.events()
    first, used, made = event.links
    assert (first.how, first.label, first.subset.patterns) == ("declared", "1.0.0", ("labels.csv",))
    assert (used.how, used.label, used.files, used.size) == ("declared", "1.0.0", 1, 1)
    assert (made.role, made.label, made.record is not None) == ("output", "1.0.1", True)


def test_a_fetch_names_its_run(lab) -> None:
    """`run=` takes a key or a run; what is no run is refused before anything is fetched."""
    out = lab.run(
        """
        import dataver
        dataver.fetch("cats", run="slurm:alps/1")
        dataver.fetch("cats", run=dataver.run("train", key="a" * 32))
        for wrong in ("no key", 7, object()):
            try:
                dataver.fetch("cats", run=wrong)
            except dataver.InvalidInput as error:
                print("refused")
        """
    )
    assert out.count("refused") == 3
    assert lab.links().keys() == {"slurm:alps/1", f"dataver:{'a' * 32}"}
    with pytest.raises(InvalidInput):
        key_of("Upper:case")


def test_what_a_run_finalizes_is_its_output(lab) -> None:
    """A sealed version is linked by its write id, and so found again once it is published."""
    lab.run(
        """
        import dataver
        repo = dataver.open()
        with dataver.run("clean", key="paper:clean"):
            folder = repo.fetch("cats@1.0.0").path
            draft = repo.create("clean/cats")
            draft.add(folder)
            version = draft.finalize("cleaned")
            version.upload()
            repo.sync("photos", "more")
        """
    )
    (event,) = [event for event in lab.events() if event.run.key == "paper:clean"]
    made = {link.dataset: link for link in event.links if link.role == "output"}
    assert made.keys() == {"clean/cats", "more"}
    assert made["clean/cats"].label is None
    import dataver

    record = dataver.open(lab.repository).version("clean/cats")
    assert made["clean/cats"].tree == record.digest.removeprefix("dv1:")


def test_a_run_that_makes_the_same_bytes_again_produced_them_too(lab) -> None:
    """No version is made, and the one that holds these bytes is the second run's output as well."""
    for key in ("paper:first", "paper:second"):
        lab.run(f"import dataver\nwith dataver.run(key={key!r}): dataver.open().sync('photos', 'same')")
    assert lab.links() == {
        "paper:first": {("output", None, "finalize")},
        "paper:second": {("output", "1.0.0", "unchanged")},
    }
    first, second = (link for event in lab.events() for link in event.links)
    assert first.write_id == second.write_id


def test_a_notebooks_run_names_the_notebook(lab) -> None:
    """Its command line is the kernel's, which says nothing."""
    notebook = str(lab.work / "explore.ipynb")
    lab.run(
        f"import sys; sys.modules['ipykernel'] = sys\n{FETCH}", environment={"JPY_SESSION_NAME": notebook}
    )
    (event,) = lab.events()
    assert [each.rpartition("/")[2] for each in event.run.facts["argv"]] == ["explore.ipynb"]


def test_processes_of_a_script_share_its_run(lab) -> None:
    """A child inherits the run; a batch job that is submitted with the environment is a run of its own."""
    lab.run(
        f"""
        import os, subprocess, sys
        {FETCH}
        code = "import dataver; dataver.fetch('cats@1.0.1')"
        subprocess.run([sys.executable, "-c", code], check=True)
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {{"SLURM_JOB_ID": "7"}})
        """
    )
    links = lab.links()
    assert len(links) == 2
    assert links["slurm:7"] == {("input", "1.0.1", "fetch")}
    (own,) = [key for key in links if key.startswith("dataver:")]
    assert links[own] == {("input", "1.0.0", "fetch"), ("input", "1.0.1", "fetch")}


def test_children_join_the_run_that_the_user_names(lab) -> None:
    """`with dataver.run(…)` and `DATAVER_RUN` reach processes of any kind."""
    lab.run(
        f"""
        import dataver, subprocess, sys
        with dataver.run("train", key="paper:1"):
            subprocess.run([sys.executable, "-c", {FETCH!r}], check=True)
        """
    )
    lab.run(FETCH, environment={"DATAVER_RUN": "paper:1"})
    said = lab.run(FETCH, environment={"DATAVER_RUN": "what is this"})
    assert "LineageWarning" in said and "DATAVER_RUN" in said
    assert {key for key in lab.links() if not key.startswith("dataver:")} == {"paper:1"}
    assert len(lab.links()) == 2


def test_the_end_of_a_script_is_its_runs(lab) -> None:
    """An exception that nobody catches is a failure, Ctrl-C a kill; `sys.exit` leaves no trace."""
    for code, outcome in {"raise ValueError": "failed", "raise KeyboardInterrupt": "killed"}.items():
        lab.run(f"{FETCH}\n{code}", fails=True)
        assert lab.events()[-1].run.outcome == outcome


def test_the_commit_of_the_start_and_the_uncommitted_diff_are_kept(lab) -> None:
    """What was not committed can be told later; the diff stays away where it is not wanted."""
    import subprocess

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(
            command, cwd=lab.work, check=True, capture_output=True, text=True
        ).stdout.strip()

    (lab.work / "code.py").write_text("x = 1\n")
    git("init", "-q", "-b", "main")
    git("remote", "add", "origin", "https://me:sesame12@example.com/code.git")
    git("add", "code.py")
    git("commit", "-q", "-m", "first")
    lab.run(FETCH)
    (lab.work / "code.py").write_text("x = 2\n")
    (lab.work / "login.py").write_text("password = 'sesame12'\n")
    git("add", "login.py")
    lab.run(FETCH)
    lab.run(FETCH, environment={"DATAVER_LINEAGE_DIFF": "off"})
    told = lab.run(FETCH, environment={"DATAVER_LINEAGE_DIFF": "none"})
    assert "unknown value 'none' of DATAVER_LINEAGE_DIFF, which counts as off" in told
    clean, dirty, off, unknown = (event.run.facts["git"] for event in lab.events())
    assert clean == {
        "commit": git("rev-parse", "HEAD"),
        "branch": "main",
        "remote": "https://example.com/code.git",
        "dirty": False,
    }
    assert b"+x = 2" in lab.attachment(dirty["diff"])
    assert b"sesame12" not in lab.attachment(dirty["diff"])
    assert (off["dirty"], off["diff_left_out"]) == (True, "not wanted")
    assert unknown == off


def test_surroundings_are_recorded_and_name_the_run(lab) -> None:
    """A job of a cluster is the run; inside a run of the user's, it is around it."""
    slurm = {"SLURM_JOB_ID": "7", "SLURM_CLUSTER_NAME": "alps"}
    lab.run(FETCH, environment=slurm)
    lab.run(FETCH, environment=slurm | {"DATAVER_RUN": "paper:1"})
    found, named = lab.events()
    assert [context.key for context in found.run.contexts] == ["slurm:alps/7"]
    assert found.run.key == "slurm:alps/7"
    assert (named.run.key, [context.key for context in named.run.contexts]) == ("paper:1", ["slurm:alps/7"])


def test_threads_share_the_run(lab) -> None:
    """Many threads at once lose no link; a thread's own run is its own."""
    lab.run(
        """
        import dataver, threading
        def work(number):
            with dataver.run(f"thread {number}", key=f"t:{number}"):
                dataver.fetch("cats@1.0.0")
            dataver.fetch("cats@1.0.1", include=["**", "*" * (number + 3)])
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        """
    )
    links = lab.links()
    assert {key for key in links if key.startswith("t:")} == {f"t:{number}" for number in range(8)}
    assert all(links[f"t:{number}"] >= {("input", "1.0.0", "fetch")} for number in range(8))
    shared = [link for event in lab.events() for link in event.links if link.subset]
    assert len({link.subset for link in shared}) == 8


def test_the_code_of_a_typed_command_is_not_where_dataver_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script's folder is that of the code; the folder of the installed command line is not."""
    from dataver.lineage.capture.environment import code_folder

    programs = tmp_path / "checkout" / "venv" / "bin"
    programs.mkdir(parents=True)
    (tmp_path / "checkout" / ".git").mkdir()
    (tmp_path / "checkout" / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("__main__.__file__", str(programs / "train.py"), raising=False)
    assert code_folder() == programs
    monkeypatch.setattr("__main__.__file__", str(programs / "dataver"), raising=False)
    assert code_folder() is None


def test_reads_through_a_server_have_no_run(lab) -> None:
    """As `docs/runs.md` says: not the reader's, and the server has none either."""
    words = [sys.executable, "-m", "dataver_cli", "serve", "--port", "0", "--json"]
    with subprocess.Popen(words, cwd=lab.work, env=lab.environment, stdout=subprocess.PIPE) as server:
        try:
            url = json.loads(server.stdout.readline())["url"]
            lab.run(f"""
                import dataver, urllib.request
                with dataver.run(key="t:1"):
                    assert urllib.request.urlopen("{url}/cats@1.0.0/labels.csv").read() == b"a,b\\n"
                """)
        finally:
            server.terminate()
    assert lab.links() == {} and lab.waiting() == []
