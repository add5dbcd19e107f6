"""Secrets do not pass; what is no secret does."""

import pytest

from dataver.lineage.capture.detection import found
from dataver.lineage.capture.redact import (
    redact,
    redact_arguments,
    redact_diff,
    redact_url,
    secret_values,
)
from dataver.storage.settings import is_secret_name

AWS = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
WORD = "correcthorse"  # no shape of its own: only its place or name tells

HARMLESS = """
    train.py --lr 0.001 --tokenizer bert-base --max-tokens 512 --author me --n_keys 12 --seed=7 --pass-through
    --data /home/User1/projects/ImageNet2012/train --out runs/2024-05-01T12-00-00_ResNet50_bs256_lr0.1
    s3://bucket/prefix/Key-1 4f1c2e9a0b3d4f1c2e9a0b3d4f1c2e9a0b3d4f1c dataver:0123456789abcdef0123456789abcdef
    https://github.com/a/b.git git@github.com:a/b.git vision/cats@1.0.0 --optimizer=AdamW --keypoints 17
    ssh://git@host/repo --model meta-llama/Llama-3.1-8B-Instruct --run-id train_2024_10_11_experiment_001_v2
"""
SECRETS = {
    "option with =": (["train.py", f"--password={WORD}"], WORD),
    "option and value": (["train.py", "--api-key", WORD], WORD),
    "short option of curl": (["curl", "-u", f"me:{WORD}"], WORD),
    "camel case": (["java", f"-DauthToken={WORD}"], WORD),
    "variable before a command": (["env", f"DB_PASSWORD={WORD}", "python"], WORD),
    "hydra": (["train.py", f"+wandb.api_key={WORD}"], WORD),
    "value with spaces": (["x", "--secret", f"a {WORD} b"], WORD),
    "quoted JSON": (["x", "--config", f'{{"token": "{WORD}", "lr": 0.1}}'], WORD),
    "YAML": (["x", f"password: {WORD}"], WORD),
    "URL with a password": (["x", f"--db=postgres://me:{WORD}@host/db"], WORD),
    "URL with a token alone": (["x", f"https://{WORD}@github.com/a/b"], WORD),
    "URL query": (["x", f"https://host/p?a=1&token={WORD}&b=2"], WORD),
    "signed URL of AWS": (["x", f"https://b.s3.amazonaws.com/k?X-Amz-Signature={WORD}&X-Amz-Date=1"], WORD),
    "signed URL of Azure": (["x", f"https://a.blob.core.windows.net/c?sv=2024&sig={WORD}"], WORD),
    "connection string": (["x", f"AccountName=a;AccountKey={WORD};Suffix=b"], WORD),
    "header": (["curl", "-H", f"Authorization: Bearer {WORD}12"], WORD),
    "header of another name": (["curl", "-H", f"X-Api-Key: {WORD}"], WORD),
    "AWS key id": (["x", "AKIAIOSFODNN7EXAMPLE"], "AKIAIOSFODNN7EXAMPLE"),
    "AWS secret by looks": (["x", AWS], AWS),
    "GitHub": (["x", "ghp_" + "a1B2" * 9], "a1B2a1B2"),
    "Hugging Face": (["x", "hf_" + "aBcDeFgH" * 4], "aBcDeFgHaBcDeFgH"),
    "OpenAI": (["x", "sk-proj-" + "aB3dE6gH" * 3], "aB3dE6gHaB3dE6gH"),
    "Slack": (["x", "xoxb-1234567890-abcdef"], "1234567890-abcdef"),
    "JWT": (["x", "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM"], "eyJzdWIiOiIx"),
    "Databricks": (["x", "dapi" + "0123456789abcdef" * 2], "0123456789abcdef0123"),
    "random characters": (["x", "q8Zr2LmX0pTv7KsWb4Nd"], "q8Zr2LmX0pTv7KsWb4Nd"),
    "private key": (
        ["x", "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----"],
        "MIIabc",
    ),
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_on_a_command_line_does_not_pass(name: str) -> None:
    """Whatever form it has."""
    arguments, secret = SECRETS[name]
    shown = redact_arguments(arguments, values=[])
    assert len(shown) == len(arguments)
    assert secret not in "\0".join(shown)


def test_what_is_no_secret_passes() -> None:
    """Options, paths, digests, dates and code stay as they are."""
    arguments = HARMLESS.split()
    assert redact_arguments(arguments, values=[]) == arguments


def test_values_of_secret_variables_are_cut_wherever_they_turn_up() -> None:
    """A shell puts `$API_KEY` into arguments of any name."""
    values = secret_values(
        {
            "MY_API_KEY": "plainword",
            "HOME": "/home/me",
            "SSH_AUTH_SOCK": "/tmp/agent.1",
            "N_TOKEN": "12345678",
        }
    )
    assert values == ["plainword"]
    assert redact_arguments(["--x=aplainwordb", "plainword"], values=values) == ["--x=a***b", "***"]


def test_a_url_keeps_what_leads_to_the_place() -> None:
    """Only the secret parts go."""
    assert redact_url("https://me:pw@github.com/a/b.git") == "https://github.com/a/b.git"
    assert redact_url("ssh://git@github.com/a/b.git") == "ssh://git@github.com/a/b.git"
    assert redact_url("git@github.com:a/b.git") == "git@github.com:a/b.git"
    assert redact_url("https://x/y?page=2&access_token=abc") == "https://x/y?page=2&access_token=***"


SECRET_NAMES = """
    PASSWORD DB_PASS PGPASSWD SSH_PASSPHRASE APP_PWD APP_PW SECRET GITHUB_TOKEN HFTOKEN JWT GITLAB_PAT
    AUTH BEARER HTTP_AUTHORIZATION MYAPIKEY API_KEY API_KEYS AWS_ACCESS_KEY_ID AWSAccessKeyId
    ACCOUNT_KEY PRIVATE_KEY AUTH_KEY SECRET_KEY APP_KEY CLIENT_KEY ENCRYPTION_KEY LICENSE_KEY MASTER_KEY
    SHARED_KEY SIGNING_KEY SSH_KEY SIG SAS_URL SUBSCRIPTION_KEY SSE_CUSTOMER_KEY CONNECTION_STRING
    DB_CONN_STRING CREDENTIALS DB_CREDS COOKIES SIGNATURE SENTRY_DSN OTP NETRC USERPWD SLACK_WEBHOOK_URL
"""


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_every_secret_name_is_found_among_variables(name: str) -> None:
    """The names that secrets have; the quick first test passes over none of them."""
    assert secret_values({name: "sesame12"}) == ["sesame12"]


def diff_of(name: str, *lines: str) -> str:
    """Return a diff that adds lines to a file."""
    body = "".join(f"+{line}\n" for line in lines)
    return (
        f"diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n@@ -1 +1,{len(lines) + 1} @@\n x\n{body}"
    )


def test_a_diff_keeps_files_in_which_nothing_looks_secret() -> None:
    """Code that only handles tokens stays; a file with one secret, or made for secrets, loses its lines."""
    clean = diff_of("train.py", "token = tokenizer.encode(text)", 'pad_token = "<pad>"', "x = max_tokens")
    clean += diff_of("conf.yaml", "learning_rate: 0.1", "optimizer: AdamW")
    clean += diff_of("nb.ipynb", '    "loss = model(batch)\\n",')
    assert redact_diff(clean, values=[]) == clean
    shown = redact_diff(
        diff_of("a.py", "x = 1", f'password = "{WORD}"') + diff_of(".env", "HARMLESS=1"), values=[]
    )
    assert shown.splitlines() == [
        "diff --git a/a.py b/a.py",
        "# 2 lines added, 0 removed: omitted, a line may contain a secret",
        "diff --git a/.env b/.env",
        "# 1 lines added, 0 removed: omitted, the file name suggests secrets",
    ]
    assert "unknown kind of file" in redact_diff(diff_of("weights.xyz", "x"), values=[])
    assert redact_diff(clean, values=[], lines=False).count("# ") == 3
    assert "x = max_tokens" not in redact_diff(clean, values=[], lines=False)
    assert WORD not in redact_diff(diff_of("a.py", f"f({WORD})"), values=[WORD])


SPELLINGS = {
    "a.py": [
        'os.environ["{upper}"] = "{word}"',
        "os.environ['{upper}']='{word}'",
        'os.environ.setdefault("{upper}", "{word}")',
        'os.putenv("{upper}", "{word}")',
        "{name} = '{word}'",
        '{name}: str = "{word}"',
        '{name}: str | None = f"{word}"',
        'client = Client("host", {name}="{word}")',
        '{name} = ("user", "{word}")',
        'settings = {{"{name}": "{word}"}}',
        '{name} = """{word}"""',
        '{name} = (\n    "{word}"',
        'parser.add_argument("--{name}", default="{word}")',
    ],
    "a.ipynb": [
        '    "{name} = \\"{word}\\"\\n",',
        '      "{name}: {word}\\n"',
        '    "%env {upper}={word}\\n",',
    ],
    "a.sh": [
        "export {upper}={word}",
        "{upper}={word} python train.py",
        "setenv {upper} {word}",
        "train --{name}={word}",
    ],
    "Dockerfile": ["ENV {upper} {word}", "ENV {upper}={word}", "ARG {upper}={word}"],
    "a.yaml": ["{name}: {word}", '"{name}": "{word}"', "  - {name}: {word}", "{name}: |\n  {word}"],
    "a.json": ['"{name}": "{word}",', '{{"env": {{"{upper}": "{word}"}}}}'],
    "a.toml": ['{name} = "{word}"'],
    "a.ini": ["{name}={word}", "{name} : {word}"],
    "a.xml": ["<{name}>{word}</{name}>", '<user {name}="{word}"/>'],
    "a.js": ["const {name} = '{word}'", "const {name} = `{word}`"],
    "README.md": ["{name}: {word}", "`{name} = {word}`"],
}
NAMES = ("password", "api_key", "auth_token", "client_secret", "db_passwd", "aws_secret_access_key")
LONE = {
    "a.py": f'wandb.login(key="{WORD}")',
    "b.py": f'requests.get(url, auth=("user", "{WORD}"))',
    "a.sql": f"CREATE USER x IDENTIFIED BY '{WORD}';",
    "c.py": f'engine = create_engine("postgres://me:{WORD}@host/db")',
}


def test_two_hundred_spellings_of_a_secret_do_not_pass_in_a_diff() -> None:
    """Whatever the language and the form, the word is in no diff that is kept."""
    tried = [
        (file, spelling.format(name=name, upper=name.upper(), word=WORD))
        for file, spellings in SPELLINGS.items()
        for spelling in spellings
        for name in NAMES
    ] + list(LONE.items())
    assert len(tried) >= 200
    kept = [one for one in tried if WORD in redact_diff(diff_of(one[0], *one[1].split("\n")), values=[])]
    assert kept == []


COMMANDS = {
    "attached to mysql's option": ["mysql", f"-p{WORD}"],
    "in an option of options": ["launch", f"--opt=--password {WORD}"],
    "a command in an argument": ["bash", "-c", f"train --password {WORD}"],
    "curl in an argument": ["sh", "-c", f"curl -u bob:{WORD} http://x"],
    "a variable in an argument": ["sh", "-c", f"PGPASSWORD={WORD} psql"],
    "mysql in an argument": ["sh", "-c", f"/usr/bin/mysql -p{WORD} db"],
    "redis": ["redis-cli", "-a", WORD],
    "docker": ["docker", "login", "-p", WORD],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_secret_in_a_command_does_not_pass(name: str) -> None:
    """Options of known programs, and command lines within arguments."""
    shown = redact_arguments(COMMANDS[name], values=[])
    assert WORD not in " ".join(shown)
    assert shown[0] == COMMANDS[name][0]


def test_facts_of_a_context_are_redacted() -> None:
    """A job that is named by its command line tells no secret."""
    assert found("slurm", "cluster", "7", name=f"train --password={WORD}").context.facts == {
        "name": "train --password=***"
    }


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer",
        "max_tokens",
        "author",
        "keyboard",
        "n_keys",
        "HOME",
        "SSH_AUTH_SOCK",
        "AWS_PROFILE",
        "signature_version",
    ],
)
def test_names_that_only_resemble(name: str) -> None:
    """A name counts by its words."""
    assert not is_secret_name(name)


def test_redacting_takes_bounded_time() -> None:
    """No input makes a pattern slow: a megabyte of the worst kinds of text passes in seconds."""
    import time

    for piece in ("a" * 50, "a=b;", "://", "eyJ" + "a" * 40 + ".", "key: '", "A1b2C3d4/", '"\\'):
        began = time.process_time()
        redact(piece * (200_000 // len(piece)), values=[])
        assert time.process_time() - began < 10, piece


def test_the_folders_of_the_shell_are_no_secrets() -> None:
    """PWD is the working directory: paths below it stay readable in command lines."""
    assert secret_values({"PWD": "/home/me/work", "OLDPWD": "/home/me", "DB_PWD": "sesame12"}) == ["sesame12"]
