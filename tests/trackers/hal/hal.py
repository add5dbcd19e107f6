"""A tracker: it has a current run, and a file that it logs to."""

ACTIVE = []


def start(run):
    ACTIVE.append(run)


def log(run, text):
    with open("hal.log", "a") as file:
        file.write(f"{run} {text}\n")
