"""`paysaga status`: what runs in the data folder."""

import time

from rich.console import Console
from rich.table import Table
from rich.text import Text

from config.settings import Settings
from embedded.home import Home
from embedded.ports import local_url

_SHOWN = (
    ("Temporal UI", "PAYSAGA_TEMPORAL_UI_URL"),
    ("Temporal", "PAYSAGA_TEMPORAL_ADDRESS"),
    ("Sandbox PSP", "PAYSAGA_STRIPE_BASE_URL"),
    ("Database", "PAYSAGA_DATABASE_URL"),
)


def show_status(settings: Settings, console: Console) -> bool:
    """Print the running stack with its processes and addresses; False if there is none."""
    home = Home(settings.home)
    running = home.read_stack()
    if running is None:
        console.print(f"No stack runs in {home.path}. Start one with `make run`.", markup=False)
        return False
    supervisor, environment = running
    console.print(Text.assemble(("Paysaga", "bold"), f" runs in {home.path}"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "process", "pid", "up for"):
        table.add_column(column, justify="right" if column in ("pid", "up for") else "left")
    for record in (supervisor, *home.read_children()):
        alive = record.is_alive()
        mark = Text(" ✓", "green") if alive else Text(" ✗", "red")
        table.add_row(mark, record.name, str(record.pid), _duration(time.time() - record.create_time) if alive else "–")
    console.print(table)
    addresses = Table.grid(padding=(0, 2))
    addresses.add_row(" API", Text(_api_url(environment), "cyan"))
    for title, variable in _SHOWN:
        if variable in environment:
            addresses.add_row(f" {title}", Text(environment[variable], "cyan"))
    console.print(addresses)
    return True


def _api_url(environment: dict[str, str]) -> str:
    return local_url(environment["PAYSAGA_API_HOST"], int(environment["PAYSAGA_API_PORT"]))


def _duration(seconds: float) -> str:
    """`42 s`, `7 min`, `3 h 05 min`."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
