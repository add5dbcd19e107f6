"""No secret is kept: some are planted wherever they may stand, and every byte written is searched."""

import subprocess

import zstandard

WORD = "correcthorsebattery"
KEYS = {
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "github": "ghp_aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0cD3fG6",
    "password": f"{WORD}-password",
    "option": f"{WORD}-option",
    "variable": f"{WORD}-variable",
    "remote": f"{WORD}-remote",
    "url": f"{WORD}-url",
    "query": f"{WORD}-query",
    "diff": f"{WORD}-diff",
    "env": f"{WORD}-env",
    "repository": f"{WORD}-repository",
}


def everything_written(lab) -> bytes:
    """Return all bytes in the state folder and in the repository's lineage, unpacked if packed."""
    found = []
    for root in (lab.root / "state", lab.repository / "lineage"):
        for path in root.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                found.append(data)
                if data[:4] == b"\x28\xb5\x2f\xfd":
                    found.append(zstandard.ZstdDecompressor().decompressobj().decompress(data))
    return b"\n".join(found)


def test_no_planted_secret_is_in_any_byte_written(lab) -> None:
    """Command lines, variables, remote, diff, URLs: queue, events, attachments and index have none."""

    def git(*arguments: str) -> None:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        subprocess.run(command, cwd=lab.work, check=True, capture_output=True)

    for name in ("settings.yaml", "train.py", "other.py", ".env"):
        (lab.work / name).write_text("empty\n")
    git("init", "-q")
    git("remote", "add", "origin", f"https://me:{KEYS['remote']}@example.com/code.git")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    (lab.work / "settings.yaml").write_text(f"visible: 1\npassword: {KEYS['diff']}\n")
    (lab.work / "train.py").write_text(
        f"visible = 2\nkey = '{KEYS['github']}'\nurl = 'https://u:{KEYS['url']}@h/'\n"
    )
    (lab.work / "other.py").write_text("visible = 3\n")
    (lab.work / ".env").write_text(f"ANYTHING={KEYS['env']}\n")
    environment = {
        "MY_SERVICE_TOKEN": KEYS["variable"],
        "AWS_SECRET_ACCESS_KEY": KEYS["env"],
        "GITHUB_ACTIONS": "true",
        "GITHUB_SERVER_URL": f"https://x:{KEYS['url']}@github.com",
        "GITHUB_REPOSITORY": "lab/cats",
        "GITHUB_RUN_ID": "9",
        "GITHUB_JOB": "train",
    }
    arguments = (
        f"--password={KEYS['password']} --api-key {KEYS['option']} {KEYS['aws']} --x={KEYS['variable']} "
        f"https://me:{KEYS['url']}@host/p https://host/p?token={KEYS['query']} --epochs 3"
    )
    process = lab.start(
        "import dataver; dataver.fetch('cats'); print('fetched', flush=True); input()",
        *arguments.split(),
        environment=environment,
    )
    process.stdout.readline()
    while not (lab.waiting() and "packages" in lab.waiting()[0].run.facts):
        assert process.poll() is None
    queued = everything_written(lab)
    process.communicate("\n")
    lab.command(
        "run",
        "--",
        "sh",
        "-c",
        "python -m dataver_cli fetch cats",
        f"--token={KEYS['option']}",
        environment=environment,
    )
    lab.command("runs")
    written = everything_written(lab)
    for data in (queued, written):
        assert b"--epochs" in data and b"visible" in data  # what is no secret is there
        assert b"lab/cats" in data
        assert [name for name, secret in KEYS.items() if secret.encode() in data] == []
        assert WORD.encode() not in data


def test_git_executes_nothing_of_the_folder(lab) -> None:
    """Filters, monitors, hooks and external diffs that a folder's configuration names are not run."""

    def git(*arguments: str) -> None:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        subprocess.run(command, cwd=lab.work, check=True, capture_output=True)

    (lab.work / "code.py").write_text("x = 1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    (lab.work / ".gitattributes").write_text("*.py filter=evil diff=evil\n")
    (lab.work / "code.py").write_text("x = 2\n")
    (lab.work / "evil").write_text(f"#!/bin/sh\ntouch {lab.root}/executed\ncat\n")
    (lab.work / "evil").chmod(0o755)
    places = ("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv")
    for name in (*places, "diff.evil.command", "diff.external", "core.fsmonitor", "core.pager"):
        git("config", name, str(lab.work / "evil"))
    lab.run("import dataver; dataver.fetch('cats')")
    (event,) = lab.events()
    assert event.run.facts["git"]["dirty"] is True
    assert b"+x = 2" in lab.attachment(event.run.facts["git"]["diff"])
    assert not (lab.root / "executed").exists()
