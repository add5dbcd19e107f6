"""What a run reads file by file is linked, exactly, in few words, whoever reads and dies."""

import inspect
import json
import sys
from collections.abc import Callable

import pytest

import dataver
from dataver.formats.event import Subset
from dataver.lineage.queries.reproduce import literal
from dataver.lineage.subset_summary import Summary
from dataver.lineage.subset_summary import summarize as say

from .lab import Lab

OPEN = """
import dataver
from dataver.lineage.record.recorder import Reads
repo = dataver.open()
def opened(ref="cats@1.0.1"):
    return Reads(repo._core, repo._core.resolve(ref))
"""
WHOLE = Subset()
LABELS, PHOTO = ("labels.csv", 4), ("train/a.jpg", 2)


def script(body: str) -> str:
    """Return a script that can open versions."""
    return OPEN + "\n".join(line.removeprefix("        ") for line in body.splitlines())


def links(lab: Lab) -> dict[str, list]:
    """Return the links of each run in the repository."""
    found: dict[str, list] = {}
    for event in lab.events():
        found.setdefault(event.run.key, []).extend(event.links)
    return found


def links_of_one_run(lab: Lab) -> list:
    """Return the links of the only run; nothing waits any more."""
    ((_, found),) = links(lab).items()
    assert lab.waiting() == [] and list(lab.queue.iterdir()) == []
    return found


def test_one_link_says_what_was_read(lab) -> None:
    """Each file once, however often it was read; with how many files and bytes that is."""
    lab.run(script(f"reads = opened()\nfor _ in range(1000): reads.path(*{LABELS})"))
    (link,) = links_of_one_run(lab)
    assert (link.role, link.how, link.label) == ("input", "read", "1.0.1")
    assert (link.subset, link.files, link.size) == (Subset(paths=("labels.csv",)), 1, 4)
    assert {event.run.outcome for event in lab.events()} == {"finished"}


def test_every_file_is_the_whole_version(lab) -> None:
    """Then no path is named."""
    lab.run(script(f"reads = opened()\nreads.path(*{LABELS})\nreads.path(*{PHOTO})"))
    (link,) = links_of_one_run(lab)
    assert (link.subset, link.files, link.size) == (WHOLE, 2, 6)


def test_who_opens_and_reads_nothing_is_not_linked(lab) -> None:
    """Nothing is written to the repository, and nothing waits."""
    lab.run(script("opened()"))
    assert lab.events() == [] and lab.waiting() == [] and not lab.queue.exists()


def test_links_of_a_long_run_add_up(lab) -> None:
    """What was said before is not said again; when all was read, that is said."""
    lab.run(
        script(
            f"""
        from dataver.lineage.record.recorder import flush
        reads = opened()
        reads.path(*{LABELS})
        flush(); flush()
        reads.path(*{LABELS})
        flush()
        reads.path(*{PHOTO})
        """
        )
    )
    found = links_of_one_run(lab)
    assert [(link.subset, link.files) for link in found] == [(Subset(paths=("labels.csv",)), 1), (WHOLE, 2)]


def test_fetching_a_run_again_brings_all_that_its_links_say(lab) -> None:
    """`fetch --run` brings back the union, and nothing else."""
    (lab.work / "photos" / "train" / "[b]*.jpg").write_bytes(b"b")
    dataver.open(lab.repository).sync(lab.work / "photos", "cats", workspace=lab.work)
    lab.run(
        script(
            f"""
        from dataver.lineage.record.recorder import flush
        reads = opened("cats@1.0.2")
        reads.path(*{LABELS})
        flush()
        reads.path("train/[b]*.jpg", 1)
        """
        )
    )
    ((run, found),) = links(lab).items()
    assert len(found) == 2
    done = lab.command("fetch", "--run", run, "--dest", str(lab.work / "again"))
    assert done.returncode == 0, done.stderr
    there = sorted(path.name for path in (lab.work / "again").rglob("*") if path.is_file())
    assert there == ["[b]*.jpg", "labels.csv"]


def test_a_program_in_another_job_is_not_of_the_run_that_starts_it(lab) -> None:
    """Whether the environment that it gets names the other job, or that of the process that starts it."""
    lab.run(
        """
        import os, subprocess, sys
        import dataver
        dataver.fetch("cats@1.0.0")
        other = [sys.executable, "-c", "import dataver; dataver.fetch('cats@1.0.1')"]
        subprocess.run(other, env=os.environ | {"SLURM_JOB_ID": "2"}, check=True)
        os.environ["SLURM_JOB_ID"] = "3"
        subprocess.run(other, check=True)
        """,
        environment={"SLURM_JOB_ID": "1"},
    )
    found = {key: {link.label for link in each} for key, each in links(lab).items()}
    assert found == {"slurm:1": {"1.0.0"}, "slurm:2": {"1.0.1"}, "slurm:3": {"1.0.1"}}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("early", [True, False])
def test_workers_are_of_their_parents_run(lab, method: str, early: bool) -> None:
    """What workers read is united with what the parent reads, though they end by a signal or `os._exit`."""
    lab.run(
        script(
            f"""
        import multiprocessing, os, signal, time
        reads = None

        def work(number, ready):
            mine = opened() if reads is None or "{method}" != "fork" else reads
            mine.path(*{LABELS})
            if number == 3:
                mine.path(*{PHOTO})
            ready.set()
            if number == 1:
                os._exit(0)
            if number:
                time.sleep(100)

        if __name__ == "__main__":
            reads = opened()
            if {early}:
                reads.path(*{LABELS})
            context = multiprocessing.get_context("{method}")
            ready = [context.Event() for _ in range(4)]
            workers = [context.Process(target=work, args=(n, ready[n])) for n in range(4)]
            [worker.start() for worker in workers]
            [each.wait() for each in ready]
            workers[2].terminate()
            workers[3].kill()
            [worker.join() for worker in workers]
            assert [worker.exitcode for worker in workers] == [0, 0, -15, -9]
        """
        )
    )
    (link,) = links_of_one_run(lab)
    assert link.subset == WHOLE
    assert [event.run.outcome for event in lab.events()] == ["finished"]


def test_workers_that_live_when_the_parent_ends_are_heard(lab) -> None:
    """As persistent workers of a data loader do, which are ended behind everything else."""
    lab.run(
        script(
            f"""
        import multiprocessing, time

        def work(ready):
            reads.path(*{PHOTO})
            ready.set()
            time.sleep(100)

        reads = opened()
        context = multiprocessing.get_context("fork")
        ready = context.Event()
        context.Process(target=work, args=(ready,), daemon=True).start()
        ready.wait()
        """
        )
    )
    ((_, found),) = links(lab).items()
    assert [link.subset for link in found] == [Subset(paths=("train/a.jpg",))]


def test_what_workers_alone_read_stays_with_their_run(lab) -> None:
    """A run that a forked child was the first to read in is not the process's own, to be given away."""
    told = lab.run(
        script(
            f"""
        import os
        from dataver.lineage.attribution.state import STATE

        reads = opened()
        with dataver.run("first") as first:
            if os.fork() == 0:
                reads.path(*{LABELS})
                os._exit(0)
            os.wait()
        with dataver.run("second") as second:
            reads.path(*{PHOTO})
            STATE.recorder.notes.absorb()
        with dataver.run("third") as third:
            reads.path(*{PHOTO})
        print(first.key, second.key, third.key)
        """
        )
    )
    first, second, third = told.split()
    found = {key: [(link.how, link.subset.paths) for link in held] for key, held in links(lab).items()}
    assert found == {
        first: [("read", ("labels.csv",))],
        second: [("read", ("train/a.jpg",))],
        third: [("read", ("train/a.jpg",))],
    }


def test_a_run_that_a_worker_named_is_reported_by_it(lab) -> None:
    """Also where it is killed in that run and leaves it to its parent, with what else it read."""
    lab.run(
        script(
            f"""
        import os
        reads = opened()
        reads.path(*{LABELS})
        if os.fork() == 0:
            reads.path(*{PHOTO})
            with dataver.run("inner", key="t:inner"):
                reads.path(*{PHOTO})
                os._exit(0)
        os.wait()
        """
        )
    )
    found = {key: [each for each in held if each.how == "read"] for key, held in links(lab).items()}
    assert [link.subset.paths for link in found.pop("t:inner")] == [("train/a.jpg",)]
    ((whole,),) = found.values()
    assert whole.subset == WHOLE
    (inner,) = {(each.run.name, each.run.outcome) for each in lab.events() if each.run.key == "t:inner"}
    assert inner == ("inner", "killed")


@pytest.mark.parametrize("how", ["fork", "start"])
def test_children_join_the_run_of_the_process_that_started_their_parent(lab, how) -> None:
    """Where their parent read nothing of its own, even if a run was begun and ended in it."""
    lab.run(
        f"""
        import dataver, subprocess, sys

        dataver.fetch("cats@1.0.0")
        child = '''
        import dataver, os, subprocess, sys
        with dataver.run("over"):
            pass
        fetch = "import dataver; dataver.fetch('cats@1.0.1')"
        if {how!r} == "start":
            subprocess.run([sys.executable, "-c", fetch], check=True)
        elif os.fork() == 0:
            exec(fetch)
            os._exit(0)
        else:
            os.wait()
        '''
        import textwrap
        subprocess.run([sys.executable, "-c", textwrap.dedent(child)], check=True)
        """
    )
    (found,) = links(lab).values()
    assert {link.label for link in found} == {"1.0.0", "1.0.1"}


def test_a_child_that_a_thread_forks_is_in_the_run_that_the_thread_was_started_in(lab) -> None:
    """A run that the user named within a tracker's, not the tracker's."""
    told = lab.run(
        script(
            f"""
        import os, threading
        from dataver.formats.context import Context
        from dataver.lineage.record.recorder import tracker_begins

        def work():
            if os.fork() == 0:
                reads.path(*{LABELS})
                os._exit(0)
            os.wait()

        reads = opened()
        tracker_begins(Context(system="mlflow", id="1", kind="tracker"))
        with dataver.run("inner") as inner:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        print(inner.key)
        """
        )
    )
    assert links(lab).keys() == {told.strip()}


def test_the_run_around_may_end_before_the_one_inside(lab) -> None:
    """What is read then is the inner one's, though nothing else changed since the last read."""
    lab.run(
        script(
            f"""
        from dataver.formats.context import Context
        from dataver.lineage.record.recorder import tracker_begins

        reads, outer = opened(), dataver.run(key="t:outer")
        outer.__enter__()
        tracker_begins(Context(system="mlflow", id="1", kind="tracker"))
        reads.path(*{LABELS})
        outer.__exit__(None, None, None)
        reads.path(*{PHOTO})
        """
        )
    )
    read = {key: [each for each in held if each.how == "read"] for key, held in links(lab).items()}
    assert {key: [each.subset.paths for each in held] for key, held in read.items()} == {
        "t:outer": [("labels.csv",)],
        "mlflow:1": [("train/a.jpg",)],
    }


def test_a_process_that_is_killed_leaves_what_it_read(lab) -> None:
    """With all its workers: the next process says it, in one link, and that the run was killed."""
    process = lab.start(
        script(
            f"""
        import os, time
        reads = opened()
        reads.path(*{LABELS})
        if os.fork() == 0:
            reads.path(*{PHOTO})
            os._exit(0)
        os.wait()
        print("read", flush=True)
        time.sleep(100)
        """
        )
    )
    process.stdout.readline()
    (waits,) = {event.run.key for event in lab.waiting()}
    process.kill()
    process.communicate()
    lab.run("import dataver; dataver.open().lineage.sync()")
    (link,) = links(lab)[waits]
    assert link.subset == WHOLE
    assert "killed" in {event.run.outcome for event in lab.events()}
    assert list(lab.queue.iterdir()) == []


def test_what_was_read_before_a_run_began_outlives_the_process(lab) -> None:
    """Where it is killed before links were made of it, it is available to that run, as it would be."""
    lab.run(
        script(
            f"""
        import os
        reads = opened()
        reads.path(*{LABELS})
        with dataver.run(key="t:1"):
            reads.path(*{PHOTO})
            os._exit(0)
        """
        )
    )
    lab.run("import dataver; dataver.open().lineage.sync()")
    found = {key: [link.subset.paths for link in held] for key, held in links(lab).items()}
    assert found == {"t:1": [("train/a.jpg",), ("labels.csv",)]}


def test_others_leave_workers_of_living_processes_alone(lab) -> None:
    """What a worker read is its parent's to say, so that it can be said in few words."""
    process = lab.start(
        script(
            f"""
        import os
        reads = opened()
        if os.fork() == 0:
            reads.path(*{LABELS})
            os._exit(0)
        os.wait()
        print("read", flush=True)
        input()
        reads.path(*{PHOTO})
        """
        )
    )
    process.stdout.readline()
    lab.run("import dataver; dataver.open().lineage.sync()")
    assert lab.events() == []
    process.communicate("\n")
    (link,) = links_of_one_run(lab)
    assert link.subset == WHOLE


def test_questions_count_in_what_is_being_read(lab) -> None:
    """On this machine the answer knows what a living process has read so far."""
    process = lab.start(script(f"reads = opened()\nreads.path(*{LABELS})\nprint(1, flush=True)\ninput()"))
    process.stdout.readline()
    (run,) = {event.run.key for event in lab.waiting()}
    shown = json.loads(lab.command("lineage", "run", run, "--json").stdout)
    process.communicate("\n")
    (link,) = shown["inputs"]
    assert link["subset"] == {"paths": ["labels.csv"]} and link["how"] == "read"


def test_runs_that_threads_begin_at_once_leave_no_name_behind(lab) -> None:
    """`DATAVER_RUN` is as before, however the threads take turns: no later read is of an ended run."""
    told = lab.run(
        script(
            """
        import os, sys, threading

        def work():
            for _ in range(300):
                with dataver.run("short"):
                    pass

        sys.setswitchinterval(1e-6)
        threads = [threading.Thread(target=work) for _ in range(6)]
        [each.start() for each in threads]
        [each.join() for each in threads]
        print(os.environ.get("DATAVER_RUN"))
        """
        )
    )
    assert told.strip() == "None"


def test_a_child_forked_while_another_thread_begins_runs_is_in_none_of_them(lab) -> None:
    """`DATAVER_RUN` of the child is as before the run of the other thread, at whatever moment it forks."""
    told = lab.run(
        script(
            """
        import os, sys, threading

        done = threading.Event()

        def work():
            while not done.is_set():
                with dataver.run("short"):
                    pass

        sys.setswitchinterval(1e-6)
        thread = threading.Thread(target=work)
        thread.start()
        wrong = 0
        for _ in range(150):
            child = os.fork()
            if child == 0:
                os._exit("DATAVER_RUN" in os.environ)
            wrong += os.waitpid(child, 0)[1] != 0
        done.set()
        thread.join()
        print(wrong)
        """
        )
    )
    assert told.strip() == "0"


def test_each_run_of_a_process_has_what_it_read(lab) -> None:
    """One open version, two runs in turn, and what was read in neither."""
    lab.run(
        script(
            f"""
        reads = opened()
        with dataver.run("one", key="t:one"):
            reads.path(*{LABELS})
        with dataver.run("two", key="t:two"):
            reads.path(*{LABELS})
            reads.path(*{PHOTO})
        """
        )
    )
    found = {key: [link.subset for link in each] for key, each in links(lab).items()}
    assert found == {"t:one": [Subset(paths=("labels.csv",))], "t:two": [WHOLE]}


def test_threads_read_for_the_run_of_the_process(lab) -> None:
    """What pools of threads read belongs to the run around them."""
    lab.run(
        script(
            f"""
        from concurrent.futures import ThreadPoolExecutor
        with dataver.run("one", key="t:one"), ThreadPoolExecutor(4) as pool:
            reads = opened()
            list(pool.map(lambda each: reads.path(*each), [{LABELS}, {PHOTO}] * 1000))
        """
        )
    )
    assert [link.subset for link in links(lab)["t:one"]] == [WHOLE]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_calls_of_pools_belong_to_the_run_that_submits_them(lab, method) -> None:
    """Whenever the workers were started: before any run, or in a run that has ended."""
    lab.run(f"""
        import dataver, multiprocessing, queue
        from concurrent.futures import ProcessPoolExecutor

        def read(label):
            dataver.open().files(f"cats@{{label}}").read("labels.csv")

        if __name__ == "__main__":
            context = multiprocessing.get_context("{method}")
            with ProcessPoolExecutor(1, mp_context=context) as executor, context.Pool(1) as pool:
                executor.submit(len, ()).result(), pool.apply(len, ((),))  # the workers are there
                with dataver.run(key="t:one"):
                    executor.submit(read, "1.0.0").result(), pool.apply(read, ("1.0.1",))
                with dataver.run(key="t:two"):
                    executor.submit(read, "1.0.1").result(), pool.apply(read, ("1.0.0",))
                with dataver.run(key="t:three"):
                    second = queue.SimpleQueue()
                    first = executor.submit(read, "1.0.0")
                    first.add_done_callback(lambda _: second.put(executor.submit(read, "1.0.1")))
                    second.get().result()
        """)
    found = {(key, link.label) for key, each in links(lab).items() for link in each}
    assert found == {(f"t:{run}", label) for run in ("one", "two", "three") for label in ("1.0.0", "1.0.1")}


def test_a_pool_that_is_imported_in_a_run_is_watched(lab) -> None:
    """The parent reads nothing, and begins no run after the import."""
    lab.run("""
        import dataver, sys

        def read(label):
            dataver.open().files(f"cats@{label}").read("labels.csv")

        with dataver.run(key="t:one"):
            with dataver.run(key="t:two"):
                assert "concurrent.futures.process" not in sys.modules
                from concurrent.futures import ProcessPoolExecutor
                pool = ProcessPoolExecutor(1)
                pool.submit(read, "1.0.0").result()
            pool.submit(read, "1.0.1").result()
            pool.shutdown()
        """)
    found = {(key, link.label) for key, each in links(lab).items() for link in each}
    assert found == {("t:one", "1.0.1"), ("t:two", "1.0.0")}


def test_children_belong_to_the_run_of_the_thread_that_starts_them(lab) -> None:
    """Not to the run that began last, nor to the one in which the fork server was started."""
    lab.run("""
        import dataver, multiprocessing, os, subprocess, sys, threading

        def read(label):
            dataver.open().files(f"cats@{label}").read("labels.csv")

        def work(run, label):
            with dataver.run(key=f"t:{run}"):
                together.wait()
                code = f"import dataver; dataver.open().files('cats@{label}').read('train/a.jpg')"
                environment = {**os.environ, "SEED": "1"} if run == "one" else None
                subprocess.run([sys.executable, "-c", code], check=True, env=environment)
                together.wait()
                worker = multiprocessing.get_context("forkserver").Process(target=read, args=(label,))
                worker.start(), worker.join()
                together.wait()

        if __name__ == "__main__":
            together = threading.Barrier(2)
            runs = [("one", "1.0.0"), ("two", "1.0.1")]
            threads = [threading.Thread(target=work, args=run) for run in runs]
            [each.start() for each in threads]
            [each.join() for each in threads]
        """)
    found = {(key, link.label, *link.subset.paths) for key, each in links(lab).items() for link in each}
    runs = (("t:one", "1.0.0"), ("t:two", "1.0.1"))
    assert found == {(*run, path) for run in runs for path in ("labels.csv", "train/a.jpg")}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_worker_that_names_its_run_keeps_it(lab, method) -> None:
    """`DATAVER_RUN` that an initializer sets holds, also for calls from a run that the caller named."""
    lab.run(f"""
        import dataver, multiprocessing, os
        from concurrent.futures import ProcessPoolExecutor

        def read(label):
            dataver.open().files(f"cats@{{label}}").read("labels.csv")

        def name_run(key):
            os.environ["DATAVER_RUN"] = key

        if __name__ == "__main__":
            context = multiprocessing.get_context("{method}")
            arguments = (1, context, name_run, ("t:named",))
            with ProcessPoolExecutor(*arguments) as early, ProcessPoolExecutor(1, context) as other:
                early.submit(len, ()).result()  # the worker is there
                with dataver.run(key="t:around"), ProcessPoolExecutor(*arguments) as late:
                    early.submit(read, "1.0.0").result()
                    late.submit(read, "1.0.1").result()
                    other.submit(read, "1.0.0").result()
        """)
    found = {(key, link.label) for key, each in links(lab).items() for link in each}
    assert found == {("t:named", "1.0.0"), ("t:named", "1.0.1"), ("t:around", "1.0.0")}


def test_what_was_only_listed_was_available(lab) -> None:
    """A run that asks for names and facts and reads nothing; what another one reads besides is all it had."""
    lab.run("""
        import dataver, fsspec
        with dataver.run(key="t:listed"):
            fs = fsspec.filesystem("dataver")
            assert fs.ls("cats@1.0.0") and fs.info("cats@1.0.1/labels.csv")
        with dataver.run(key="t:read"):
            assert fs.ls("cats@1.0.0") and fs.cat("cats@1.0.0/labels.csv")
        """)
    found = {(key, link.label, link.how, link.subset) for key, each in links(lab).items() for link in each}
    assert found == {
        ("t:listed", "1.0.0", "available", WHOLE),
        ("t:listed", "1.0.1", "available", Subset(paths=("labels.csv",))),
        ("t:read", "1.0.0", "read", Subset(paths=("labels.csv",))),
    }


def test_a_handle_is_of_the_run_in_which_it_was_opened(lab) -> None:
    """Whatever is read from it later, and in which run."""
    lab.run("""
        import dataver, fsspec
        with dataver.run(key="t:opened"):
            file = fsspec.open("dataver://cats@1.0.0/labels.csv").open()
        with dataver.run(key="t:later"):
            assert file.read() == b"a,b\\n"
        """)
    found = {key: {link.subset for link in each if link.how == "read"} for key, each in links(lab).items()}
    assert found == {"t:opened": {Subset(paths=("labels.csv",))}}


def test_a_share_is_said_when_it_was_read(lab) -> None:
    """Not before, and not if less was read."""
    lab.run(
        script(
            f"""
        from dataver.formats.event import Subset
        reads, more = opened(), opened("cats@1.0.0")
        for each in (reads, more):
            each.shard(Subset(("train/**",), shard=(1, 4)), 1, 2)
            each.path(*{LABELS})
        reads.path(*{PHOTO})
        """
        )
    )
    found = {(link.label, link.subset) for link in links_of_one_run(lab)}
    assert found == {("1.0.1", WHOLE), ("1.0.0", Subset(paths=("labels.csv",)))}


def test_without_lineage_nothing_is_kept(lab) -> None:
    """`DATAVER_LINEAGE=off`: no file is written."""
    lab.run(script(f"opened().path(*{LABELS})"), environment={"DATAVER_LINEAGE": "off"})
    assert lab.events() == [] and not lab.queue.exists()


def test_nowhere_to_write_a_journal(lab) -> None:
    """Said once; what was read is sent from memory."""
    (lab.root / "file").write_text("")
    said = lab.run(script(f"opened().path(*{LABELS})"), environment={"DATAVER_STATE": str(lab.root / "file")})
    assert said.count("LineageWarning") == 1
    assert [link.subset for each in links(lab).values() for link in each] == [Subset(paths=("labels.csv",))]


def test_the_disk_fills_up_while_reading(lab) -> None:
    """Reading goes on; what the journal could not take is sent from memory."""
    said = lab.run(
        script(
            f"""
        import resource
        reads = opened()
        reads.path(*{LABELS})
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        reads.path(*{PHOTO})
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        """
        )
    )
    assert said.count("LineageWarning") == 1
    assert [link.subset for each in links(lab).values() for link in each] == [WHOLE]


PASS = """
from dataver.reading.samples import contents
files = dataver.open().files("cats@1.0.1")
found = contents(files, [[("labels.csv", 4), ("train/a.jpg", 2)]])
"""


def read_by_runs(lab: Lab) -> dict[str, list]:
    """Return what each run read of `cats@1.0.1`, without what was available to it."""
    found = {run: [link.subset for link in each if link.how == "read"] for run, each in links(lab).items()}
    return {run: subsets for run, subsets in found.items() if subsets}


@pytest.mark.parametrize("fetched", [True, False])
def test_a_pass_is_of_the_run_in_which_it_began(lab, fetched: bool) -> None:
    """Also what it reads in a run that began in the meantime, or in another thread."""
    lab.run(
        script(
            PASS
            + f"""
        import threading
        {fetched} and dataver.fetch("cats@1.0.1")
        with dataver.run(key="t:outer"):
            next(found)
            whole = files.in_current_run()
            with dataver.run(key="t:inner"):
                thread = threading.Thread(target=next, args=(found,))
                thread.start(), thread.join()
                files.read("labels.csv")
                assert [*contents(whole, [[("labels.csv", 4), ("train/a.jpg", 2)]])]
        """
        )
    )
    assert read_by_runs(lab) == {"t:outer": [WHOLE], "t:inner": [Subset(paths=("labels.csv",))]}


def test_a_pass_goes_on_in_another_run_when_its_own_has_ended(lab) -> None:
    """What is read after the end of a run is not that run's."""
    lab.run("import dataver; dataver.fetch('cats@1.0.1')")
    lab.run(
        script(
            PASS
            + """
        with dataver.run(key="t:one"):
            next(found)
        with dataver.run(key="t:two"):
            next(found)
        """
        )
    )
    assert read_by_runs(lab) == {
        "t:one": [Subset(paths=("labels.csv",))],
        "t:two": [Subset(paths=("train/a.jpg",))],
    }


def test_a_pass_goes_on_in_a_forked_child(lab) -> None:
    """What the child reads is added to the run of its parent."""
    lab.run("import dataver; dataver.fetch('cats@1.0.1')")
    lab.run(
        script(
            PASS
            + """
        import os
        with dataver.run(key="t:one"):
            next(found)
            if os.fork() == 0:
                next(found)
                os._exit(0)
            os.wait()
        """
        )
    )
    assert read_by_runs(lab) == {"t:one": [WHOLE]}


@pytest.mark.parametrize("how", ["left", "suspended", "killed after its run"])
def test_what_a_pass_of_a_worker_did_not_read_was_not_available(lab, how: str) -> None:
    """Where the pass, the worker or the run ended: what was announced and not read is nothing."""
    lab.run("import dataver; dataver.fetch('cats@1.0.1')")
    lab.run(
        script(
            PASS
            + f"""
        import multiprocessing, os

        def work():
            if "{how}" == "killed after its run":
                with dataver.run(key="t:inner"):
                    next(found)
                os._exit(0)
            next(found)
            if "{how}" == "left":
                found.close()

        with dataver.run(key="t:one"):
            worker = multiprocessing.get_context("fork").Process(target=work)
            worker.start(), worker.join()
        """
        )
    )
    lab.run("import dataver; dataver.open().lineage.sync()")
    found = {(link.how, link.subset.paths) for each in links(lab).values() for link in each}
    assert found - {("fetch", ())} == {("read", ("labels.csv",))}


def test_a_child_that_is_forked_while_a_thread_records_does_not_wait_for_it(lab) -> None:
    """Neither for what it reads itself, nor at the end of a pass that it continues."""
    lab.run("import dataver; dataver.fetch('cats@1.0.1')")
    lab.run(
        script(
            PASS
            + """
        import os, signal, threading
        inside, go, write = threading.Event(), threading.Event(), os.write
        with dataver.run(key="t:one"):
            next(found), next(found)

            def held(fd, data):
                if threading.current_thread() is thread:
                    inside.set(), go.wait()
                return write(fd, data)

            reads = opened()
            reads.path("first", 1)
            thread = threading.Thread(target=reads.path, args=("second", 1))
            os.write = held
            thread.start(), inside.wait()
            if os.fork() == 0:
                signal.alarm(20)
                assert next(found, None) is None
                files.read("train/a.jpg")
                os._exit(0)
            status = os.wait()[1]
            go.set(), thread.join()
            assert status == 0
        """
        )
    )


@pytest.mark.parametrize("first", [True, False])
def test_a_pass_that_is_killed_leaves_what_it_read(lab, first: bool) -> None:
    """What it was about to read, or read in the last moment, may have been read."""
    lab.run("import dataver; dataver.fetch('cats@1.0.1')")
    lab.run(
        script(
            PASS
            + f"""
        import os
        with dataver.run(key="t:one"):
            {first} or files.read("labels.csv")
            next(found)
            os._exit(0)
        """
        )
    )
    lab.run("import dataver; dataver.open().lineage.sync()")
    found = {(link.how, link.subset.paths) for link in links(lab)["t:one"]}
    assert found == {("read", ("labels.csv",)), ("available", ("train/a.jpg",))}


def test_a_pass_is_recorded_a_few_times(lab) -> None:
    """Not at each file, which would be the most that recording costs: most of a write is the system's."""
    said = lab.run(
        script(
            """
        import os
        from pathlib import Path
        from dataver.reading.samples import contents
        Path("many").mkdir()
        names = [(f"{number}.txt", 1) for number in range(2_000)]
        for name, _ in names:
            Path("many", name).write_text("x")
        repo.sync("many", "many", workspace="work")
        repo.fetch("many")
        files, writes, write = repo.files("many"), [], os.write
        os.write = lambda fd, data: (writes.append(data), write(fd, data))[1]
        with dataver.run(key="t:pass"):
            for _ in range(2):
                assert len([*contents(files, [names])]) == len(names)
                print(len(writes))
        """
        )
    )
    first, both = map(int, said.split())
    assert 0 < first < 500 and both <= first + 1
    assert ("read", WHOLE) in {(link.how, link.subset) for link in links(lab)["t:pass"]}


def test_reading_costs_next_to_nothing(lab) -> None:
    """A file that was seen before costs the question whose it is; in a pass not even that."""
    said = lab.run(
        script(
            f"""
        import sys
        reads, calls = opened(), []
        reads.path(*{LABELS})
        sys.setprofile(lambda frame, event, argument: calls.append(event) if event == "call" else None)
        reads.path(*{LABELS})
        sys.setprofile(None)
        print(len(calls))
        of_pass = reads.in_current_run()
        of_pass.path(*{LABELS})
        del calls[:]
        sys.setprofile(lambda frame, event, argument: calls.append(event) if event == "call" else None)
        of_pass.path(*{LABELS})
        sys.setprofile(None)
        print(len(calls))
        """
        )
    )
    single, of_pass = map(int, said.split())
    assert 2 <= single <= 20
    assert of_pass == 1


# in few words

FILES = {
    **{f"train/{name}/{number}.jpg": number + 1 for name in ("cat", "do[g]") for number in range(5)},
    **{f"train/{name}/{number}.json": 2 for name in ("cat", "do[g]") for number in range(5)},
    "labels.csv": 7,
    "test/0.jpg": 9,
}
TOTAL = (len(FILES), sum(FILES.values()))


@pytest.fixture
def tree(tmp_path):
    """The tree of a version that holds `FILES`, and a link and an empty folder."""
    for path, size in FILES.items():
        (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / path).write_bytes(b"x" * size)
    (tmp_path / "data" / "train" / "cat" / "link").symlink_to("0.jpg")
    (tmp_path / "data" / "train" / "empty").mkdir()
    repo = dataver.init(tmp_path / "repository")
    return repo.sync(tmp_path / "data", "cats", workspace=tmp_path).version.tree


def chosen(which: Callable[[str], bool]) -> dict[str, int]:
    """Return some of the files."""
    return {path: size for path, size in FILES.items() if which(path)}


@pytest.mark.parametrize(
    ("prefix", "ending", "patterns"),
    [
        ("train/", "", ("train/**",)),
        ("train/cat/", "", ("train/cat/**",)),
        ("train/do", "", ("train/do[[]g]/**",)),
        ("train/cat/", ".jpg", ("train/cat/**/*.jpg",)),
        ("train/", ".json", ("*.json",)),
        ("train/", ".jpg", ("train/**/*.jpg",)),
        ("", ".jpg", ("*.jpg",)),
    ],
)
def test_what_a_glob_says_is_said_by_it(tree, prefix: str, ending: str, patterns: tuple[str, ...]) -> None:
    """Folders as a whole, kinds of files of folders; links and empty folders do not count."""
    read = chosen(lambda path: path.startswith(prefix) and path.endswith(ending))
    (said,) = say(read, read, TOTAL, (), tree)
    assert (said.subset, said.files, said.size) == (Subset(patterns=patterns), len(read), sum(read.values()))


def test_where_one_file_is_lacking_there_is_no_glob(tree) -> None:
    """A glob is exact or is not used: what lies beside it is said by its paths."""
    read = chosen(lambda path: path.startswith("train/") and path != "train/cat/3.json")
    globs, rest = say(read, read, TOTAL, (), tree)
    assert globs.subset == Subset(patterns=("train/do[[]g]/**",))
    assert rest.subset.paths == tuple(sorted(chosen(lambda path: "cat" in path and path in read)))
    assert globs.files + rest.files == len(read)


def test_what_was_said_before_completes_a_glob(tree) -> None:
    """The second half of a folder is said as all of it; what is complete is not said twice."""
    read = chosen(lambda path: path.startswith("train/cat/"))
    fresh = dict(list(read.items())[5:])
    (said,) = say(read, fresh, TOTAL, (), tree)
    assert (said.subset, said.files) == (Subset(patterns=("train/cat/**",)), 10)
    assert say(read, {}, TOTAL, (), tree) == []


def test_a_share_and_what_was_read_besides() -> None:
    """The share of those that match; the rest by its paths; a share that lacks a byte is none."""
    mine = chosen(lambda path: path.startswith("train/cat/") and path.endswith(".jpg"))
    read = mine | {"labels.csv": 7}
    share = Summary(Subset(("train/**",), shard=(1, 2)), len(mine), sum(mine.values()))
    first, second = say(read, read, TOTAL, [share])
    assert (first.subset, first.size) == (Subset(patterns=("train/**",), shard=(1, 2)), sum(mine.values()))
    assert second.subset == Subset(paths=("labels.csv",))
    alone = share._replace(subset=Subset(("train/**",)))
    assert [each.subset for each in say(mine, mine, TOTAL, [alone])] == [Subset(patterns=("train/**",))]
    part = Subset(("train",), exclude=("*.txt", "train/dog"))
    assert [each.subset for each in say(mine, mine, TOTAL, [alone._replace(subset=part)])] == [part]
    (less,) = say(read, read, TOTAL, [share._replace(size=share.size + 1)])
    assert less.subset == Subset(paths=tuple(sorted(read)))


def test_many_paths_are_listed_beside_the_link() -> None:
    """More than 2,000: an attachment that `parse_listing` reads; more than fits into one: several."""
    from dataver.lineage.queries.content import parse_listing

    read = {f"{number:05}/" + 'ä"' * 50: 3 for number in range(2_001)}
    (said,) = say(read, read, (-1, -1))
    assert said.subset.listed and said.listing is not None and not said.subset.paths
    assert parse_listing(said.listing) == sorted(read)
    read = {f"{number:05}/" + "ä" * 1500: 3 for number in range(4_001)}
    several = say(read, read, (-1, -1))
    assert len(several) > 1 and all(len(each.listing or b"") < 1 << 24 for each in several)
    assert sorted(path for each in several for path in parse_listing(each.listing or b"")) == sorted(read)
    assert sum(each.files for each in several) == 4_001


def test_a_listing_reaches_the_repository(lab) -> None:
    """An event that names a list comes behind the list; also of a process that was killed."""
    body = """
        reads = opened()
        for number in range(2_001): reads.path(f"{number}", 1)
        """
    lab.run(script(body))
    lab.run(script(body + "\n        import os\n        os._exit(0)"))
    lab.run("import dataver; dataver.open().lineage.sync()")
    found = links(lab)
    assert len(found) == 2
    for each in found.values():
        (link,) = each
        assert len(json.loads(lab.attachment(link.subset.listed))) == link.files == 2_001


def test_an_ending_with_wildcards_is_not_used(tree) -> None:
    """An ending that a glob cannot say is said by paths."""
    read = {f"train/{number}.a*": 1 for number in range(3)}
    (said,) = say(read, read, TOTAL, (), tree)
    assert said.subset.paths == tuple(sorted(read)) and literal("a*") == "/a[*]"


def test_a_glob_is_found_below_more_folders_than_calls_can_nest(tmp_path) -> None:
    """What was read lies deeper than the interpreter's recursion limit, which is low here."""
    deep = "d/" * 100
    read = {f"{deep}{name}/{number}.bin": 1 for name in "ab" for number in range(3)}
    repo = dataver.init(tmp_path / "repository")
    draft = repo.create("deep", workspace=tmp_path)
    for path in (*read, f"{deep}b/3.bin", "top.bin"):
        with draft.open(path, "wb") as file:
            file.write(b"x")
    tree = draft.finalize().tree
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 80)
    try:
        globs, rest = say(read, read, (8, 8), (), tree)
    finally:
        sys.setrecursionlimit(limit)
    assert globs.subset == Subset(patterns=(f"{deep}a/**",))
    assert rest.subset.paths == tuple(path for path in read if "/b/" in path)
