"""Threads, pools, children, clusters and servers under runs of MLflow: each file is read in its own run only.

Each program is a process of its own. It prints, as its last line, which files each run reads: all files of
`frames@1.0.0` that are read, by run. Nothing else may be linked, no other run may exist, and none may be
unfinished.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

import dataver
from dataver.tree.selection import Selection
from waiting import until

FRAMES = 48
PRELUDE = """
import json, os, sys, threading
import mlflow

def read(*numbers):
    import dataver
    files = dataver.open().files("frames@1.0.0")
    for number in numbers:
        assert files.read(f"{number:02}.txt") == b"frame %d" % number

def key(run):
    return f"mlflow:{run.info.run_id}"

def tell(found):
    with open("told.json", "w") as file:  # standard output is shared with workers and ranks
        json.dump(found, file)

reads = {}
"""


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking store with its tables, which take MLflow seconds to make."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


class Lab:
    """A repository with `frames@1.0.0`, and programs that read it.

    Attributes:
        repo: the repository.
        folder: where programs run.
    """

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder = folder
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DATAVER_")},
            "HOME": str(folder),  # Ray keeps a key there
            "DATAVER_REPO": str(folder / "repo"),
            "DATAVER_CACHE": str(folder / "cache"),
            "DATAVER_STATE": str(folder / "state"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{shutil.copy(store, folder / 'mlflow.db')}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "GIT_PYTHON_REFRESH": "quiet",
        }
        self.repo = dataver.init(folder / "repo")
        (folder / "frames").mkdir()
        for number in range(FRAMES):
            (folder / "frames" / f"{number:02}.txt").write_text(f"frame {number}")
        self.repo.sync(folder / "frames", "frames", workspace=folder / "work")

    def start(self, code: str, *command: str) -> "subprocess.Popen[str]":
        """Start a program: Python, or another command, with a script of this code."""
        script = self.folder / "program.py"
        script.write_text(PRELUDE + code)
        return subprocess.Popen(
            [*(command or [sys.executable]), str(script)],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, *command: str) -> dict[str, list[int]]:
        """Run a program; return which run reads which files by what it tells."""
        told = self.folder / "told.json"
        told.unlink(missing_ok=True)
        process = self.start(code, *command)
        try:
            out, err = process.communicate(timeout=600)
        finally:
            process.kill()
        assert process.returncode == 0, out + err
        assert "LineageWarning" not in err
        return json.loads(told.read_text()) if told.exists() else {}

    def _sent(self) -> bool:
        self.repo.lineage.sync()
        return not any((self.folder / "state").glob("lineage/*/queue/*.json"))

    def linked(self) -> dict[str, list[int]]:
        """Return which run read which files according to the lineage, of all runs that it knows."""
        until(self._sent)  # Ray ends its workers by force, and not at once
        version = self.repo.version("frames@1.0.0")
        paths = [entry.path for entry in version.entries()]
        found = {}
        for run in self.repo.lineage.runs(everything=True):
            assert run.outcome == (None if run.key.startswith("ray:") else "finished"), run
            used = [link.subset for link in self.repo.lineage.run(run.key).inputs if link.used]
            assert not any(subset.listed or subset.shard for subset in used)
            read = {path for subset in used for path in subset.paths}
            for subset in used:
                if not subset.paths:
                    read.update(filter(Selection(subset.patterns).matcher(), paths))
            found[run.key] = sorted(int(path.removesuffix(".txt")) for path in read)
        return found


@pytest.fixture
def lab(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A repository and what runs programs on it; this process itself is no run."""
    for name, folder in (("CACHE", "cache"), ("STATE", "state")):
        monkeypatch.setenv(f"DATAVER_{name}", str(tmp_path / folder))
    monkeypatch.setenv("DATAVER_LINEAGE", "off")
    return Lab(tmp_path, empty_store)


def test_trials_of_optuna(lab: Lab) -> None:
    """Each of twelve trials on three threads, nested in the run of the study, has read what it read."""
    told = lab.run("""
import optuna
optuna.logging.set_verbosity(optuna.logging.WARNING)
together = threading.Barrier(3)

def objective(trial):
    first = 1 + 3 * trial.number
    with mlflow.start_run(nested=True, parent_run_id=study_run.info.run_id) as run:
        reads[key(run)] = [first, first + 1, first + 2]
        read(first)
        together.wait()
        read(first + 1)
        together.wait()
        read(first + 2)
    return first

with mlflow.start_run() as study_run:
    read(0)
    optuna.create_study().optimize(objective, n_trials=12, n_jobs=3)
    read(37)
reads[key(study_run)] = [0, 37]
tell(reads)
""")
    assert len(told) == 13
    assert lab.linked() == told


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_calls_of_joblib(lab: Lab, backend: str) -> None:
    """Two runs one after the other use the same workers; batches are dispatched from callbacks' threads."""
    told = lab.run(f"""
from joblib import Parallel, delayed

if __name__ == "__main__":
    with Parallel(n_jobs=2, backend={backend!r}, batch_size=1) as parallel:
        for first in (0, 24):
            with mlflow.start_run() as run:
                parallel(delayed(read)(number) for number in range(first, first + 24))
            reads[key(run)] = list(range(first, first + 24))
    tell(reads)
""")
    assert len(told) == 2
    assert lab.linked() == told


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_calls_of_joblib_from_two_threads(lab: Lab, backend: str) -> None:
    """Two threads, each in a run of its own, have calls made at the same time."""
    told = lab.run(f"""
from joblib import Parallel, delayed

together = threading.Barrier(2)

def train(first):
    with mlflow.start_run() as run:
        together.wait()
        Parallel(n_jobs=2, backend={backend!r}, batch_size=1)(
            delayed(read)(number) for number in range(first, first + 12))
        together.wait()
    reads[key(run)] = list(range(first, first + 12))

if __name__ == "__main__":
    threads = [threading.Thread(target=train, args=(first,)) for first in (0, 12)]
    [each.start() for each in threads]
    [each.join() for each in threads]
    tell(reads)
""")
    assert len(told) == 2
    assert lab.linked() == told


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pools_of_processes(lab: Lab, method: str) -> None:
    """Pools that are made before, between and in runs; the parent reads nothing itself."""
    told = lab.run(f"""
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

if __name__ == "__main__":
    context = get_context({method!r})
    with ProcessPoolExecutor(1, mp_context=context) as executor, context.Pool(1) as pool:
        for first in (0, 16):
            with mlflow.start_run() as run, ProcessPoolExecutor(1, mp_context=context) as own:
                list(executor.map(read, range(first, first + 4)))
                pool.map(read, range(first + 4, first + 8))
                list(own.map(read, range(first + 8, first + 12)))
                worker = context.Process(target=read, args=(first + 12, first + 13))
                worker.start()
                worker.join()
            reads[key(run)] = list(range(first, first + 14))
    tell(reads)
""")
    assert len(told) == 2
    assert lab.linked() == told


def test_a_worker_that_names_its_run_keeps_it(lab: Lab) -> None:
    """`DATAVER_RUN` that a worker's initializer sets comes before the run of the process that submits."""
    told = lab.run("""
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

def name_run(key):
    os.environ["DATAVER_RUN"] = key

if __name__ == "__main__":
    context = get_context("spawn")
    with mlflow.start_run() as run:
        with ProcessPoolExecutor(1, context, name_run, ("test:named",)) as own:
            list(own.map(read, range(4)))
            import dataver
            with dataver.run(key="test:around"):
                list(own.map(read, range(4, 8)))
                with ProcessPoolExecutor(1, context) as other:
                    list(other.map(read, range(8, 12)))
            list(own.map(read, range(12, 14)))
        read(14)
    tell({"test:named": [*range(8), 12, 13], "test:around": [*range(8, 12)], key(run): [14]})
""")
    assert lab.linked() == told


def test_subprocesses(lab: Lab) -> None:
    """A subprocess, and its own, are of the run in which it was started, at once after the run began."""
    told = lab.run("""
import shlex, subprocess
CODE = '''
import subprocess, sys, dataver
for number in sys.argv[1].split():
    dataver.open().files("frames@1.0.0").read(f"{int(number):02}.txt")
if len(sys.argv) > 2:
    subprocess.run([sys.executable, "-c", sys.argv[2], sys.argv[2 + 1]], check=True)
'''
for first in (0, 8):
    with mlflow.start_run() as run:
        subprocess.run([sys.executable, "-c", CODE, f"{first} {first + 1}", CODE, f"{first + 2}"], check=True)
        read(first + 3)
        assert os.system(shlex.join([sys.executable, "-c", CODE, f"{first + 4}"])) == 0
    reads[key(run)] = list(range(first, first + 5))
tell(reads)
""")
    assert len(told) == 2
    assert lab.linked() == told


def test_children_of_two_threads(lab: Lab) -> None:
    """Children are of the run of the thread that starts them, not of the run that began last."""
    told = lab.run("""
import subprocess
from multiprocessing import get_context
CODE = "import sys, dataver; dataver.open().files('frames@1.0.0').read(sys.argv[1])"
together, over = threading.Barrier(2), threading.Event()

def train(first):
    with mlflow.start_run() as run:
        together.wait()
        command = [sys.executable, "-c", CODE]
        subprocess.run([*command, f"{first:02}.txt"], check=True)
        subprocess.run([*command, f"{first + 1:02}.txt"], check=True, env={**os.environ, "SEED": "1"})
        worker = get_context("spawn").Process(target=read, args=(first + 2,))
        worker.start()
        worker.join()
        if first:  # the run of the other thread has ended
            over.wait()
            subprocess.run([*command, f"{first + 3:02}.txt"], check=True)
    over.set()
    reads[key(run)] = list(range(first, first + 3 + bool(first)))

if __name__ == "__main__":
    threads = [threading.Thread(target=train, args=(first,)) for first in (0, 3)]
    [each.start() for each in threads]
    [each.join() for each in threads]
    tell(reads)
""")
    assert len(told) == 2
    assert lab.linked() == told


def test_tasks_of_ray(lab: Lab) -> None:
    """Two workers do all tasks; one that begins no run is of the job, not of the run that started Ray."""
    told = lab.run("""
import ray

@ray.remote
def train(first):
    with mlflow.start_run() as run:
        read(first, first + 1)
    return key(run), [first, first + 1]

@ray.remote
class Trainer:
    def train(self, first):
        with mlflow.start_run() as run:
            read(first, first + 1)
        return key(run), [first, first + 1]

@ray.remote
def plain(number):
    read(number)
    import subprocess
    code = f"import dataver; dataver.open().files('frames@1.0.0').read('{number + 1}.txt')"
    subprocess.run([sys.executable, "-c", code], check=True)

with mlflow.start_run() as early:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    read(30)
reads[key(early)] = [30]
session = ray._private.worker.global_worker.node.session_name
reads[f"ray:{session}/{ray.get_runtime_context().get_job_id()}"] = [24, 25, 26, 27]
ray.get([plain.remote(24), plain.remote(26)])
reads |= dict(ray.get([train.remote(first) for first in range(0, 16, 2)]))
trainer = Trainer.remote()
reads |= dict(ray.get([trainer.train.remote(first) for first in range(16, 24, 2)]))
ray.shutdown()
tell(reads)
""")
    assert len(told) == 14
    assert lab.linked() == told


def test_requests_of_a_server(lab: Lab) -> None:
    """Coroutines take turns in runs that the code names; handlers on threads have runs of MLflow."""
    told = lab.run("""
import asyncio, urllib.request
from concurrent.futures import ThreadPoolExecutor
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
import dataver

async def named(request):
    first = int(request.path_params["first"])
    with dataver.run(key=f"test:request-{first}"):
        reads[f"test:request-{first}"] = list(range(first, first + 3))
        for number in (first, first + 1):
            read(number)
            await asyncio.sleep(0)
        await asyncio.to_thread(read, first + 2)
    return Response()

def tracked(request):
    first = int(request.path_params["first"])
    with mlflow.start_run() as run:
        reads[key(run)] = list(range(first, first + 3))
        together.wait()
        read(first, first + 1)
        together.wait()
        read(first + 2)
    return Response()

together = threading.Barrier(4)
app = Starlette(routes=[Route("/named/{first}", named), Route("/tracked/{first}", tracked)])
server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
serving = threading.Thread(target=server.run)
serving.start()
while not server.started:
    assert serving.is_alive()
    threading.Event().wait(0.01)
port = server.servers[0].sockets[0].getsockname()[1]
with ThreadPoolExecutor(4) as clients:
    for kind, start in (("named", 0), ("tracked", 24)):
        urls = [f"http://127.0.0.1:{port}/{kind}/{first}" for first in range(start, start + 24, 3)]
        list(clients.map(lambda url: urllib.request.urlopen(url).read(), urls))
server.should_exit = True
serving.join()
tell(reads)
""")
    assert len(told) == 16
    assert lab.linked() == told


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_a_data_loader(lab: Lab, method: str) -> None:
    """The parent never touches dataver; epochs in one run, then in another."""
    told = lab.run(f"""
from torch.utils.data import DataLoader, Dataset

class Frames(Dataset):
    def __init__(self, first):
        self.first = first
    def __len__(self):
        return 12
    def __getitem__(self, number):
        read(self.first + number)
        return number

if __name__ == "__main__":
    options = {{"batch_size": 2, "num_workers": 2, "multiprocessing_context": {method!r}}}
    for first, epochs in ((0, {2 if method == "fork" else 1}), (12, 1)):
        with mlflow.start_run() as run:
            loader = DataLoader(Frames(first), **options)
            for _ in range(epochs):
                assert sum(len(batch) for batch in loader) == 12
        reads[key(run)] = list(range(first, first + 12))
    assert not any(name.startswith("dataver.api") for name in sys.modules)
    tell(reads)
""")
    assert len(told) == 2
    assert lab.linked() == told


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_that_opens_urls(lab: Lab, workers: int) -> None:
    """Two epochs of `fsspec.open`; only the workers, if any, use dataver."""
    told = lab.run(f"""
import fsspec
from torch.utils.data import DataLoader

class Frames:
    def __len__(self):
        return 12
    def __getitem__(self, number):
        with fsspec.open(f"dataver://frames@1.0.0/{{number:02}}.txt") as file:
            assert file.read() == b"frame %d" % number
        return number

with mlflow.start_run() as run:
    for _ in range(2):
        assert len(list(DataLoader(Frames(), batch_size=2, num_workers={workers}))) == 6
reads[key(run)] = list(range(12))
tell(reads)
""")
    assert len(told) == 1
    assert lab.linked() == told


def test_persistent_workers_of_a_data_loader(lab: Lab) -> None:
    """They stay in the run in which they were started."""
    told = lab.run("""
from torch.utils.data import DataLoader

class Frames:
    def __len__(self):
        return 12
    def __getitem__(self, number):
        read(number)
        return number

chosen = []
loader = DataLoader(Frames(), sampler=chosen, num_workers=2, persistent_workers=True)
for first in (0, 6):
    chosen[:] = range(first, first + 6)
    with mlflow.start_run() as run:
        assert [int(batch) for batch in loader] == chosen
        read(first + 20)
    reads[key(run)] = [first + 20]
start = next(iter(reads))
reads[start] = [*range(12), *reads[start]]
tell(reads)
""")
    assert len(told) == 2
    assert lab.linked() == told


TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2")


def test_ranks_of_which_one_has_the_run(lab: Lab) -> None:
    """What both ranks read belongs to the run of MLflow that rank 0 alone has."""
    told = lab.run(
        """
import torch.distributed as dist
dist.init_process_group("gloo")
rank = dist.get_rank()
run = mlflow.start_run() if rank == 0 else None
dist.barrier()
read(*range(rank, 12, 2))
dist.barrier()
if run is not None:
    mlflow.end_run()
    tell({key(run): list(range(12))})
dist.destroy_process_group()
""",
        *TORCHRUN,
        "--standalone",
    )
    linked = {run: read for run, read in lab.linked().items() if read}
    assert linked == told


def test_two_launches_with_one_rendezvous_id_are_two_runs(lab: Lab) -> None:
    """The same id, twice: each launch is a run, which has what its ranks read."""
    code = """
rank = int(os.environ["RANK"])
first = int(open("first").read())
read(first + rank)
"""
    for first in (0, 2):
        (lab.folder / "first").write_text(str(first))
        lab.run(code, *TORCHRUN, "--rdzv-id=again", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0")
    linked = lab.linked()
    assert sorted(linked.values()) == [[0, 1], [2, 3]]
    assert all(re.fullmatch(r"torchrun:again/\w+", run) for run in linked)
