"""Routes as the application serves them."""

from typing import Any

from fastapi import APIRouter, FastAPI


class Router(APIRouter):
    """A router whose operations have their functions' names."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(generate_unique_id_function=lambda route: route.name, **settings)

    def add_to(self, app: FastAPI) -> None:
        """Add the routes as they are. `include_router` makes each anew, at the first request that comes past it, which
        takes longer than the rest of the start, and adds a millisecond to every request."""
        app.router.routes.extend(self.routes)
