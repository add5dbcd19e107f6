"""Run the command line on file systems without the features that `dataver/storage/durable.py` lists.

    python scripts/lacking.py                                # every error of every call, and of both calls
    python scripts/lacking.py fsync=EINVAL link=EPERM        # these errors together

strace injects the errors (Linux; `apt-get install strace`). Each command must end as it does without them,
and the published and fetched data must be correct. `syncfs` gets the same errors as `fsync`.
"""

import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CALLS = {
    "fsync": ("fsync,syncfs", ["EINVAL", "EOPNOTSUPP", "ENOSYS", "EBADF"]),
    "link": (
        "link,linkat",
        ["EPERM", "EINVAL", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV", "EBADF", "ENOENT"],
    ),
}
COMMANDS = """
init repo
config set --user cache.size 5GB
create d
add src --dest in
move in/a in/b
finalize -m first
upload
sync src --name e
sync more --name e
sync more --name e --checksum
fetch d
fetch e
fetch e@1.0.0 --dest own
fetch e@1.0.1 --dest own --overwrite
fetch e@1.0.0 --dest other
lock e@1.0.0
tag e@1.0.0 good
untag e good
cat e a
verify e
create f
add more
discard --yes
init copy
push copy e --repo repo
delete e@1.0.0 --yes
gc --yes --yes-delete-most --grace 0
repack --yes
cache verify
cache clean --yes
"""


def run(answers: dict[str, str], commands: list[str] | None = None) -> list[str]:
    """Return what went wrong with these answers, `{call: errno}`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in (("src/a", "1"), ("src/deep/x", "2" * 100_000), ("more/a", "3"), ("more/y", "4")):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        strace = ["strace", "-f", "-qq", "-o", "trace"]
        traced = ",".join(CALLS[call][0] for call in answers)
        strace += ["-e", f"trace={traced}"]
        strace += [f"--inject={CALLS[call][0]}:error={answer}" for call, answer in answers.items()]
        home = {"HOME": name, "DATAVER_CACHE": f"{name}/cache", "DATAVER_LINEAGE": "off"}
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DATAVER_")}
        program = str(Path(sys.executable).with_name("dataver"))
        wrong: list[str] = []
        for command in commands or COMMANDS.strip().splitlines():
            done = subprocess.run(
                [*strace, program, *command.split()],
                cwd=folder,
                env=environment | home,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                wrong.append(f"{answers} {command}: {done.returncode} {done.stderr.strip()}")
        for path, text in (("own/a", "3"), ("own/y", "4"), ("other/a", "1"), ("other/deep/x", "2" * 100_000)):
            if not (folder / path).exists() or (folder / path).read_text() != text:
                wrong.append(f"{answers} {path} is wrong")
        left = [str(path) for path in (folder / "repo").rglob(".tmp-*")]
        return wrong + [f"{answers} left {path}" for path in left]


def main(arguments: list[str]) -> int:
    """Run what is asked for, and print what went wrong."""
    if arguments:
        chosen = [dict(argument.split("=") for argument in arguments)]
    else:
        chosen = [{call: answer} for call, (_, answers) in CALLS.items() for answer in answers]
        both = itertools.product(CALLS["fsync"][1], CALLS["link"][1])
        chosen += [{"fsync": first, "link": second} for first, second in both]
    wrong = [line for answers in chosen for line in run(answers)]
    print("\n".join(wrong) or f"{len(chosen)} file systems, nothing wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
