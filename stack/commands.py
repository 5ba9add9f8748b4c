"""The commands for finance and operators, registered on `paysaga`: what they do is imported when they are called."""

import asyncio
import os
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from config.settings import Settings

T = TypeVar("T")
