"""The words of notifications: one file for each language, and a layout for text and for HTML.

A file says for each template its subject, heading, paragraphs and facts; each text is a Jinja template. A deployment
may have a folder of its own beside these: what a file there says replaces what ours says, text by text, and a
`mail.html` or `mail.txt` there replaces the layout. A folder in it with the name of a tenant goes before it.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from domain.notification import LOCALE_DEFAULT

_OURS = Path(__file__).parent / "templates"


class WordsError(Exception):
    """A template or a file of words that cannot be used."""


class Rendered(NamedTuple):
    """`short`: the whole of an SMS."""

    subject: str
    text: str
    html: str
    short: str


class Words:
    """The words of a deployment. `folder`: its own. Files are read once: a change needs a new process."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._tenants: dict[str, _OfTenant] = {}

    def render(self, tenant_id: str, template: str, locale: str, values: Mapping[str, object]) -> Rendered:
        """Raises WordsError."""
        if tenant_id not in self._tenants:
            own = [] if self._folder is None else [self._folder / tenant_id, self._folder]
            self._tenants[tenant_id] = _OfTenant([*own, _OURS])
        return self._tenants[tenant_id].render(template, locale, values)


class _OfTenant:
    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        loader: BaseLoader = ChoiceLoader([FileSystemLoader(folder) for folder in folders])
        common: dict[str, Any] = {"loader": loader, "undefined": StrictUndefined, "keep_trailing_newline": True}
        self._plain = ImmutableSandboxedEnvironment(autoescape=False, **common)
        self._html = ImmutableSandboxedEnvironment(autoescape=True, **common)
        self._read: dict[str, dict[str, dict[str, Any]]] = {}

    def render(self, template: str, locale: str, values: Mapping[str, object]) -> Rendered:
        try:
            return self._render(template, locale, values)
        except (TemplateError, KeyError, TypeError, OSError, ValueError) as error:
            raise WordsError(f"{template} in {locale}: {type(error).__name__}: {error}") from error

    def _render(self, template: str, locale: str, values: Mapping[str, object]) -> Rendered:
        words, layout = self._words(locale)[template], self._words(locale)["layout"]

        def said(text: str) -> str:
            return self._plain.from_string(text).render(values)

        facts = [(said(label), said(value)) for label, value in words.get("facts", ())]
        shown = {
            **values,
            "locale": locale,
            "tone": words.get("tone", "plain"),
            "subject": " ".join(said(words["subject"]).split()),
            "heading": said(words["heading"]),
            "paragraphs": [said(paragraph) for paragraph in words["text"]],
            "facts": [(label, value) for label, value in facts if value.strip()],
            "items": values.get("items", ()) if words.get("items") else (),
            "amount": values.get("amount", ""),
            "total": said(layout["total"]),
            "footer": said(layout["footer"]),
        }
        return Rendered(
            subject=shown["subject"],
            text=self._plain.get_template("mail.txt").render(shown),
            html=self._html.get_template("mail.html").render(shown),
            short=said(words["short"]),
        )

    def _words(self, locale: str) -> dict[str, dict[str, Any]]:
        """Of a language, or else of English."""
        if locale not in self._read:
            found: dict[str, dict[str, Any]] = {}
            for name in (LOCALE_DEFAULT, locale.partition("_")[0].partition("-")[0], locale):
                for folder in reversed(self._folders):
                    path = folder / f"{name}.toml"
                    if path.is_file():
                        for section, texts in tomllib.loads(path.read_text()).items():
                            found[section] = {**found.get(section, {}), **texts}
            self._read[locale] = found
        return self._read[locale]
