"""The data folder: one stack at a time, private files, one clear sentence when it cannot be used."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import Settings
from embedded.errors import StackError
from embedded.home import Home
from embedded.ports import free_port, is_free, require_free
from embedded.processes import ProcessRecord
from embedded.run import processes_on
from embedded.status import running_stack


def test_a_second_stack_in_the_same_folder_is_told_who_is_there(home_path: Path) -> None:
    first, second = Home(home_path), Home(home_path)
    first.prepare()
    with first.locked(), pytest.raises(StackError, match=rf"A stack \(pid {os.getpid()}\) already runs in"):
        second.locked().__enter__()
    with second.locked():
        pass


@pytest.mark.parametrize("unusable", ["/dev/null/paysaga", "/proc/paysaga"])
def test_a_folder_that_cannot_be_written(unusable: str) -> None:
    with pytest.raises(StackError, match=r"cannot be written \(.*\): choose another one with PAYSAGA_HOME"):
        Home(Path(unusable)).prepare()


def test_a_full_disk(home_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=100 * 1024**2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StackError, match="has only 100 MB left"):
        Home(home_path).prepare()


def test_the_encryption_key_is_made_once_and_for_its_owner_alone(home_path: Path) -> None:
    home = Home(home_path)
    home.prepare()
    keys = home.encryption_keys()
    key_id, _, key = keys.partition(":")
    assert key_id == "k1"
    assert len(base64.b64decode(key, validate=True)) == 32
    assert home.encryption_keys() == keys
    assert (home.secrets / "encryption_keys").stat().st_mode & 0o777 == 0o600
    assert home.secrets.stat().st_mode & 0o777 == 0o700


def test_a_running_stack_is_found_and_a_dead_one_is_not(home_path: Path) -> None:
    home = Home(home_path)
    home.prepare()
    assert home.read_stack() is None
    home.write_stack({"PAYSAGA_API_PORT": "1"})
    running = home.read_stack()
    assert running is not None
    assert running[0].pid == os.getpid()
    assert running[1] == {"PAYSAGA_API_PORT": "1"}
    path = home.run / "stack.json"
    assert path.stat().st_mode & 0o777 == 0o600
    content = json.loads(path.read_text())
    content["supervisor"]["create_time"] -= 100  # the same pid, another process
    path.write_text(json.dumps(content))
    assert home.read_stack() is None


def test_an_api_of_several_processes_is_shown_with_each(home_path: Path) -> None:
    home = Home(home_path)
    home.prepare()
    home.write_stack({"PAYSAGA_API_HOST": "127.0.0.1", "PAYSAGA_API_PORT": "1"})
    two = ["/bin/sh", "-c", "sleep 60 & sleep 60 & echo; wait"]
    parent = subprocess.Popen(two, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert parent.stdout is not None
        parent.stdout.readline()
        home.write_children([ProcessRecord.of("api", parent.pid), ProcessRecord.of("worker", parent.pid)])
        shown = running_stack(Settings(home=home_path)).processes
        assert [process.name for process in shown] == ["stack", "api", "api process", "api process", "worker"]
        assert all(process.alive for process in shown)
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.communicate()


@pytest.mark.parametrize(("cores", "processes"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4), (64, 4)])
def test_api_processes_leave_cores_to_the_servers(cores: int, processes: int) -> None:
    assert processes_on(cores) == processes


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '[{"pid": 1}]', '{"a": 1}'])
def test_broken_files_count_as_none(home_path: Path, text: str) -> None:
    home = Home(home_path)
    home.prepare()
    for name in ("stack.json", "children.json"):
        (home.run / name).write_text(text)
    assert home.read_stack() is None
    assert home.read_children() == []


def test_a_pid_that_was_given_to_another_process_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        record = ProcessRecord.of("other", process.pid)
        impostor = ProcessRecord("ours", process.pid, record.create_time - 60, signal.SIGTERM)
        assert record.is_alive()
        assert not impostor.is_alive()
        impostor.send(signal.SIGKILL)
        assert record.is_alive()
        process.kill()


def test_nobody_chooses_a_port_that_another_process_has_just_chosen() -> None:
    chooser = "from embedded.ports import free_port; print(*(free_port() for _ in range(60)), flush=True); input()"
    with subprocess.Popen(
        (sys.executable, "-c", chooser),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as other:
        assert other.stdout is not None
        theirs = {int(port) for port in other.stdout.readline().split()}
        assert len(theirs) == 60
        assert theirs.isdisjoint(free_port() for _ in range(200))
        other.kill()


def test_a_taken_port_names_its_holder_and_the_setting() -> None:
    port = free_port()
    require_free("127.0.0.1", port, what="the API", variable="PAYSAGA_API_PORT")
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free("127.0.0.1", port)
        assert not is_free("0.0.0.0", port)  # noqa: S104
        with pytest.raises(
            StackError, match=rf"Port {port} for the API is already in use by .*pid {os.getpid()}.* PAYSAGA_API_PORT"
        ):
            require_free("127.0.0.1", port, what="the API", variable="PAYSAGA_API_PORT")
    assert is_free("127.0.0.1", port)
