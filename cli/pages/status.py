"""The page of `paysaga status`: the stack that runs in the data folder."""

from rich.console import Group, RenderableType

from cli.pages import format as look
from embedded.status import Stack


def page_of(stack: Stack) -> RenderableType:
    """The processes, with where each can be reached."""
    if not stack.processes:
        return look.text(f"No stack runs in {stack.home}. Start one with `make run`.")
    table = look.table("", "process", "pid", "up for", right=("pid", "up for"))
    for process in stack.processes:
        mark = look.text(("✓", "green") if process.alive else ("✗", "red"))
        table.add_row(mark, process.name, str(process.pid), _duration(process.up_s) if process.alive else "–")
    addresses = look.facts()
    for name, address in stack.addresses.items():
        addresses.add_row(name, (address, "cyan"))
    return Group(look.text(("Paysaga", "bold"), f" runs in {stack.home}"), table, addresses)


def document_of(stack: Stack) -> dict[str, object]:
    processes = [vars(process) for process in stack.processes]
    return {"object": "stack", "home": str(stack.home), "processes": processes, "addresses": stack.addresses}


def _duration(seconds: float) -> str:
    """`42 s`, `7 min`, `3 h 05 min`."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
