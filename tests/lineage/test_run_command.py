"""`dataver run`, and what commands that a person types note."""

import signal
import subprocess
import sys
import time

import pytest

DATAVER = f"{sys.executable} -m dataver_cli"


def test_what_a_person_types_is_no_run(lab) -> None:
    """Unless there is one around it: a job, a script, a name."""
    assert lab.command("fetch", "cats").returncode == 0
    assert lab.command("sync", "photos", "--name", "more").returncode == 0
    assert lab.events() == lab.waiting() == []
    lab.command("fetch", "cats", environment={"SLURM_JOB_ID": "7"})
    lab.command("fetch", "cats", environment={"DATAVER_RUN": "paper:1"})
    assert lab.links().keys() == {"slurm:7", "paper:1"}
    lab.run(f"import dataver, os; dataver.fetch('cats@1.0.0'); os.system('{DATAVER} fetch cats')")
    (shared,) = [links for key, links in lab.links().items() if key.startswith("dataver:")]
    assert shared == {("input", "1.0.0", "fetch"), ("input", "1.0.1", "fetch")}


def test_a_warning_is_one_line(lab) -> None:
    """Without the place in our code at which it was raised."""
    done = lab.command("fetch", "cats@1.0.0", "--dest", "here", environment={"DATAVER_LINEAGE": "of"})
    warning = "unknown value 'of' of DATAVER_LINEAGE, which counts as on. Training is not affected."
    assert f"warning: {warning}" in done.stderr.splitlines()
    assert "settings.py" not in done.stderr


@pytest.mark.parametrize(
    ("script", "code", "outcome"),
    [("true", 0, "finished"), ("exit 3", 3, "failed"), ("kill -9 $$", 137, "killed")],
)
def test_any_command_is_a_run(lab, script, code, outcome) -> None:
    """Its exit code is passed on and is the run's outcome; all that it starts belongs to it."""
    shell = f"{DATAVER} fetch -q cats@1.0.0; {DATAVER} fetch -q cats; {script}"
    done = lab.command("run", "--name", "nightly", "--", "sh", "-c", shell, "--token", "sesame12")
    assert done.returncode == code
    ((key, links),) = lab.links().items()
    assert links == {("input", "1.0.0", "fetch"), ("input", "1.0.1", "fetch")}
    runner = next(event.run for event in lab.events() if not event.links)
    assert (runner.name, runner.outcome) == ("nightly", outcome)
    assert runner.facts["argv"][-2:] == ["--token", "***"]
    assert key in done.stderr


def test_a_command_that_touches_no_repository_notes_nothing(lab) -> None:
    """Nor does one that cannot be started; its exit code is the shell's."""
    assert lab.command("run", "--", "true").returncode == 0
    assert lab.command("run", "no-such-command").returncode == 127
    assert lab.command("run", str(lab.work)).returncode == 126
    assert lab.command("run", "--run", "no key", "--", "true").returncode == 1
    assert lab.command("run").returncode == 2
    assert lab.events() == lab.waiting() == []


def test_a_command_joins_a_run_that_exists(lab) -> None:
    """`--run`."""
    lab.command("run", "--run", "mlflow:4f1c", "--", *DATAVER.split(), "fetch", "cats")
    assert lab.links().keys() == {"mlflow:4f1c"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_handed_on(lab, number) -> None:
    """The command decides what they mean; the run still hears how it ended."""
    code = (  # Python calls no handler while it sleeps if the signal came just before
        "import dataver, signal, sys, time; dataver.fetch('cats');"
        f"signal.signal({int(number)}, lambda *_: sys.exit(9)); print('ready', flush=True);"
        "[time.sleep(0.1) for _ in range(600)]"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "dataver_cli", "run", "--", sys.executable, "-c", code],
        cwd=lab.work,
        env=lab.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == 9
    assert "failed" in {event.run.outcome for event in lab.events()}


def test_the_exit_code_is_passed_on_when_the_repository_is_gone(lab) -> None:
    """What cannot be said waits."""
    away = lab.repository.with_name("away")
    shell = f"{DATAVER} fetch -q cats; mv {lab.repository} {away}; exit 5"
    done = lab.command("run", "--", "sh", "-c", shell)
    assert done.returncode == 5 and "lineage is queued" in done.stderr
    assert [event.run.outcome for event in lab.waiting()] == ["failed"]
    away.rename(lab.repository)
    lab.run("import dataver; dataver.open().lineage.sync()")
    assert lab.waiting() == [] and "failed" in {event.run.outcome for event in lab.events()}


@pytest.mark.slow
def test_a_repository_that_never_answers_is_waited_for_in_bounds(lab) -> None:
    """At exit ten seconds at most; the link waits in the queue."""
    began = time.monotonic()
    said = lab.run(
        """
        import dataver
        repo = dataver.open()
        import dataver.lineage.record.recorder
        repo.fetch("cats")
        import threading
        class Never(type(repo._core.store)):
            def get(self, *arguments, **options):
                threading.Event().wait()
            get_bounded = get
        repo._core.store.__class__ = Never
        """
    )
    assert time.monotonic() - began > 9  # and `lab.run` does not wait for ever
    assert said.count("LineageWarning") == 1 and "too slow" in said
    assert len(lab.waiting()) == 1
