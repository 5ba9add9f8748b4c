"""`make security`: known vulnerabilities of what the locks name, secrets in tracked files, and what CI itself runs.

Uses the standard library and the tools of `.venv-security`. Exit code 1 where there is a finding; what could not be
checked, since no data of it could be reached, is said and is none.
"""

import fnmatch
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".venv-security" / "bin"
LOCKS = tuple(f"requirements{name}.lock" for name in ("", "-clients", "-dev", "-bench", "-security"))
ALLOWED = ".ci/allowed-secrets.toml"
RECORDED = "tests/replay/histories/*"
"""Payloads of recorded workflows are base64 throughout: entropy tells nothing there, the forms of known keys do."""

_OF_BASE64 = ("--disable-plugin", "Base64HighEntropyString", "--disable-plugin", "HexHighEntropyString")
_OUR_IDS = ("--exclude-secrets", "^[a-z]{2,4}_[0-9a-hjkmnp-tv-z]{26}$")
"""Ids of ours, in examples and tests: they open nothing."""

_SERVICES = ("pypi", "osv")
_TIMEOUT_S = 300


def main() -> int:
    findings = [*vulnerabilities(), *secrets(), *scripts()]
    for finding in findings:
        say(f"FOUND    {finding}")
    say(f"{len(findings)} findings" if findings else "nothing found")
    return 1 if findings else 0


def vulnerabilities() -> Iterator[str]:
    """Ask PyPI's own data and then OSV's; a service that does not answer is left out, and said."""
    for lock in LOCKS:
        unknown: dict[str, str] = {}
        for service in _SERVICES:
            audited = _audited(lock, service)
            unknown = {d["name"]: d["skip_reason"] for d in audited if "skip_reason" in d}
            for dependency in audited:
                for known in dependency.get("vulns", ()):
                    fixed = ", ".join(known["fix_versions"]) or "nothing yet"
                    yield f"{lock}: {dependency['name']} {dependency['version']}: {known['id']}, fixed by {fixed}"
            if audited and not unknown:
                say(f"checked  {lock}: {len(audited)} packages against the data of {service}")
                break
        else:
            what = f"{len(unknown)} packages" if unknown else "it"
            say(f"NOT CHECKED {lock}: no data about {what} could be reached")


def _audited(lock: str, service: str) -> list[dict]:
    """Empty where the service does not answer at all."""
    options = ("--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json")
    done = run("pip-audit", "--requirement", lock, "--vulnerability-service", service, *options)
    try:
        return json.loads(done.stdout)["dependencies"]
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        say(f"         {service} does not answer: {last[:120]}")
        return []


def secrets() -> Iterator[str]:
    """Scan what is committed last, and what is there now where it differs."""
    allowed = {(entry["paths"], entry["hash"]) for entry in tomllib.loads((ROOT / ALLOWED).read_text())["allowed"]}
    tracked = [name for name in git("ls-files", "-z").split("\0") if name]
    used: set[tuple[str, str]] = set()
    told: set[tuple[str, str]] = set()
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(("git", "archive", "HEAD"), cwd=ROOT, check=True, capture_output=True).stdout  # noqa: S607
        subprocess.run(("tar", "-x", "-C", folder), input=archive, check=True)  # noqa: S603, S607 - fixed words
        changed = git("diff", "--name-only", "-z", "HEAD").split("\0")
        for place, names in ((Path(folder), tracked), (ROOT, changed)):
            there = [name for name in names if name and name != ALLOWED and (place / name).is_file()]
            for path, found in _secrets_in(place, there):
                value = found["hashed_secret"]
                fitting = {one for one in allowed if one[1] == value and fnmatch.fnmatch(path, one[0])}
                if not fitting and (path, value) not in told:
                    yield f"{path}:{found['line_number']}: {found['type']} ({value}): see {ALLOWED}"
                told.add((path, value))
                used |= fitting
    for paths, value in sorted(allowed - used):
        yield f"{ALLOWED}: nothing in {paths} is {value} any more"
    say(f"checked  {len(tracked)} tracked files and the last commit for secrets; {len(allowed)} are allowed")


def _secrets_in(place: Path, names: list[str]) -> Iterator[tuple[str, dict]]:
    recorded = fnmatch.filter(names, RECORDED)
    for options, chosen in (((), sorted({*names} - {*recorded})), (_OF_BASE64, recorded)):
        if not chosen:
            continue
        # Without verification: it would send what it finds to whom it may belong.
        done = run("detect-secrets", "scan", "--no-verify", *_OUR_IDS, *options, *chosen, cwd=place)
        if done.returncode:
            raise SystemExit(done.stderr)
        for path, found in json.loads(done.stdout)["results"].items():
            yield from ((path, one) for one in found)


def scripts() -> Iterator[str]:
    """Check the workflow files of a forge, if there are any, and the shell scripts that CI and containers run."""
    folders = [str(path) for path in (ROOT / ".github", ROOT / ".forgejo", ROOT / ".gitea") if path.is_dir()]
    if folders:
        done = run("zizmor", "--offline", "--no-progress", "--format", "plain", *folders)
        if done.returncode:
            yield f"workflow files:\n{done.stdout}{done.stderr}"
        say("checked  the workflow files")
    else:
        say("checked  no workflow files: there are none, CI runs .ci/run")
    shell = [".ci/run", *git("ls-files", "*.sh").split()]
    yield from run("shellcheck", "--format", "gcc", *shell).stdout.splitlines()
    say(f"checked  {len(shell)} shell scripts")


def run(tool: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = (str(TOOLS / tool), *arguments)
    return subprocess.run(  # noqa: S603 - a list, no shell
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
    )


def git(*arguments: str) -> str:
    command = ("git", *arguments)
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S603


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
