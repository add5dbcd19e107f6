"""The part of ClearML's API that its `Dataset` uses, in memory: tasks, projects and artifacts.

ClearML's server cannot run in a test, but its client is the real one: it talks HTTP to this.
"""

import base64
import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

_VERSION = "2.31"


class Api:
    """Tasks and projects, and the calls on them, named as in ClearML's API with `_` for the dot."""

    def __init__(self) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}
        self.projects: dict[str, dict[str, Any]] = {}
        self.lock = threading.RLock()
        self.unknown: list[str] = []

    def call(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Answer a call; an unknown one is noted, and answered as if it had worked."""
        found = getattr(self, name.replace(".", "_"), None)
        with self.lock:
            if found is None:
                self.unknown.append(name)
                return {"updated": 1, "fields": {}}
            answer: dict[str, Any] = found(given)
            return answer

    def auth_login(self, _: dict[str, Any]) -> dict[str, Any]:
        claims = {"exp": int(time.time()) + 3600, "iat": int(time.time()), "env": "", "api_version": _VERSION}
        parts = [
            base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode()
            for each in ({"alg": "HS256", "typ": "JWT"}, claims)
        ]
        return {"token": ".".join([*parts, "eHg"])}

    def projects_create(self, given: dict[str, Any]) -> dict[str, Any]:
        for each in self.projects.values():
            if each["name"] == given["name"]:
                return {"id": each["id"]}
        found = {"id": uuid.uuid4().hex, **given}
        self.projects[found["id"]] = found
        return {"id": found["id"]}

    def projects_get_by_id(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"project": self.projects[given["project"]]}

    def projects_get_all(self, given: dict[str, Any]) -> dict[str, Any]:
        found = [
            each
            for each in self.projects.values()
            if (not given.get("name") or re.search(given["name"], each["name"]))
            and (not given.get("id") or each["id"] in given["id"])
        ]
        page, size = given.get("page") or 0, given.get("page_size") or 500
        return {"projects": found[page * size : (page + 1) * size]}

    projects_get_all_ex = projects_get_all

    def projects_update(self, given: dict[str, Any]) -> dict[str, Any]:
        self.projects[given["project"]].update({key: given[key] for key in given if key != "project"})
        return {"updated": 1, "fields": {}}

    def tasks_create(self, given: dict[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        task = {
            "id": uuid.uuid4().hex,
            "status": "created",
            "created": now,
            "last_update": now,
            "user": "tester",
        }
        task |= {
            "execution": {"queue": None, "parameters": {}, "artifacts": []},
            "output": {"destination": ""},
            "script": {"diff": "", "requirements": {}},
            "runtime": {},
            "hyperparams": {},
            "configuration": {},
            "tags": [],
            "system_tags": [],
            "status_reason": "",
            "status_message": "",
            "last_iteration": 0,
            "company": "c",
        }
        task |= {key: value for key, value in given.items() if value is not None}
        self.tasks[task["id"]] = task
        return {"id": task["id"]}

    def tasks_get_by_id(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"task": self.tasks[given["task"]]}

    def tasks_get_all(self, given: dict[str, Any]) -> dict[str, Any]:
        found = [each for each in self.tasks.values() if _meets(each, given)]
        found.sort(key=lambda each: each["last_update"], reverse=True)
        page, size = given.get("page") or 0, given.get("page_size") or 500
        return {"tasks": found[page * size : (page + 1) * size], "total": len(found)}

    tasks_get_all_ex = tasks_get_all

    def tasks_edit(self, given: dict[str, Any]) -> dict[str, Any]:
        task = self.tasks[given["task"]]
        for key, value in given.items():
            if key not in ("task", "force") and value is not None:
                old = task.get(key)
                task[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
        task["last_update"] = datetime.now(UTC).isoformat()
        return {"updated": 1, "fields": given}

    tasks_update = tasks_edit

    def _status(self, given: dict[str, Any], status: str) -> dict[str, Any]:
        self.tasks[given["task"]]["status"] = status
        return {"updated": 1, "fields": {"status": status}}

    def tasks_started(self, given: dict[str, Any]) -> dict[str, Any]:
        return {**self._status(given, "in_progress"), "started": 1}

    def tasks_completed(self, given: dict[str, Any]) -> dict[str, Any]:
        return self._status(given, "completed")

    def tasks_publish(self, given: dict[str, Any]) -> dict[str, Any]:
        return self._status(given, "published")

    def tasks_stopped(self, given: dict[str, Any]) -> dict[str, Any]:
        return self._status(given, "stopped")

    def tasks_delete(self, given: dict[str, Any]) -> dict[str, Any]:
        self.tasks.pop(given["task"])
        return {
            "deleted": True,
            "updated_children": 0,
            "updated_models": 0,
            "events": 0,
            "urls": {"model_urls": [], "event_urls": [], "artifact_urls": []},
        }

    def tasks_move(self, given: dict[str, Any]) -> dict[str, Any]:
        project = given.get("project") or self.projects_create({"name": given["project_name"]})["id"]
        for each in given["ids"]:
            self.tasks[each]["project"] = project
        return {"updated": 1, "project_id": project}

    def tasks_add_or_update_artifacts(self, given: dict[str, Any]) -> dict[str, Any]:
        execution = self.tasks[given["task"]]["execution"]
        new = {each["key"]: {"mode": "output", **each} for each in given["artifacts"]}
        kept = [each for each in execution.get("artifacts") or [] if each["key"] not in new]
        execution["artifacts"] = [*kept, *new.values()]
        return {"updated": 1}

    def tasks_delete_artifacts(self, given: dict[str, Any]) -> dict[str, Any]:
        execution, gone = self.tasks[given["task"]]["execution"], {each["key"] for each in given["artifacts"]}
        execution["artifacts"] = [each for each in execution["artifacts"] if each["key"] not in gone]
        return {"deleted": len(gone)}

    def tasks_edit_configuration(self, given: dict[str, Any]) -> dict[str, Any]:
        self.tasks[given["task"]]["configuration"] |= {each["name"]: each for each in given["configuration"]}
        return {"updated": 1}

    def tasks_edit_hyper_params(self, given: dict[str, Any]) -> dict[str, Any]:
        for each in given["hyperparams"]:
            self.tasks[given["task"]]["hyperparams"].setdefault(each["section"], {})[each["name"]] = each
        return {"updated": 1}

    def tasks_get_configurations(self, given: dict[str, Any]) -> dict[str, Any]:
        return {
            "configurations": [
                {"task": each, "configuration": list(self.tasks[each]["configuration"].values())}
                for each in given["tasks"]
            ]
        }

    def tasks_get_hyper_params(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"params": [{"task": each, "hyperparams": []} for each in given["tasks"]]}

    def models_get_all(self, _: Any) -> dict[str, Any]:
        return {"models": []}

    def events_get_task_plots(self, _: Any) -> dict[str, Any]:
        return {"plots": [], "returned": 0, "total": 0}

    def events_get_task_events(self, _: Any) -> dict[str, Any]:
        return {"events": [], "returned": 0, "total": 0}

    def events_debug_images(self, _: Any) -> dict[str, Any]:
        return {"metrics": []}

    def events_add_batch(self, _: Any) -> dict[str, Any]:
        return {"added": 1, "errors": 0, "errors_info": {}}


def _meets(task: dict[str, Any], given: dict[str, Any]) -> bool:
    for key in ("id", "project", "status", "type"):
        if given.get(key) and task.get(key) not in given[key]:
            return False
    if given.get("name") and not re.search(given["name"], task["name"]):
        return False
    for key in ("tags", "system_tags"):
        wanted = given.get(key) or []
        refused = {each for before, each in pairwise(wanted) if before == "__$not"}
        needed = {each for each in wanted if not each.startswith("__$")} - refused
        if set(task[key]) & refused or (needed and not needed & set(task[key])):
            return False
    text = given.get("search_text")
    return not text or text in json.dumps(task)


@contextmanager
def running(api: Api) -> Iterator[str]:
    """Serve an API on a free port of this machine; yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            name = self.path.partition("?")[0].rsplit("/", 1)[-1]
            if name.startswith("v2"):
                name = ""
            try:
                given = json.loads(body) if body and "batch" not in name else {}
                data, code = api.call(name, given if isinstance(given, dict) else {}), 200
            except KeyError as error:
                data, code = {"missing": str(error)}, 400
            meta = {
                "id": "x",
                "trx": "x",
                "endpoint": {"name": name, "requested_version": _VERSION, "actual_version": _VERSION},
                "result_code": code,
                "result_subcode": 0,
                "result_msg": "OK" if code == 200 else "no such object",
                "error_stack": "",
            }
            answer = json.dumps({"meta": meta, "data": data}).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
