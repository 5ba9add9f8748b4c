"""Every notification can be written in every language, amounts as people write them; a deployment's own words go
first, and nothing that a shop or a buyer has written is taken for a template or for HTML."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from db.notification.material import Material
from domain.notification import NOTICES, next_attempt_in
from services.notify import words
from services.notify.values import is_locale, locale_of, money, values_of
from services.notify.words import Words, WordsError

OURS = Path(words.__file__).parent / "templates"
LOCALES = sorted(path.stem for path in OURS.glob("*.toml"))
EVIL = "<script>{{ 7 * 191 }}</script>"

DATA: dict[str, dict[str, Any]] = {
    "payment": {
        "id": "pay_1", "checkout_id": EVIL, "amount": "1324.40", "currency": "EUR",
        "payment_orders": [{"seller_account": "anna", "amount": "1324.40"}],
    },
    "refund": {"id": "re_1", "payment_id": "pay_1", "amount": "5.00", "currency": "EUR"},
    "dispute": {
        "id": "dp_1", "payment_id": "pay_1", "amount": "9.00", "currency": "EUR", "category": "fraudulent",
        "evidence_due_at": "2026-12-24T10:00:00+00:00",
    },
    "payout": {"id": "pt_1", "seller_account": "anna", "amount": "70.00", "currency": "EUR"},
    "webhook_endpoint": {"id": "whe_1", "because": "gone"},
}  # fmt: skip


def material(shop: str = "Anna & Co", share: int | None = 450) -> Material:
    at = datetime(2026, 11, 29, tzinfo=UTC)
    return Material(data={}, at=at, address=None, shop=shop, sellers={"anna": f"Anna {EVIL}"}, share=share)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("event", NOTICES)
def test_every_notice_can_be_written(event: str, locale: str) -> None:
    noun = event.partition(".")[0]
    for of in (material(), material(share=None)):
        said = Words().render("t", NOTICES[event].template, locale, values_of(event, DATA[noun], of, locale))
        assert all((said.subject, said.text, said.html, said.short))
        assert "\n" not in said.subject
        assert "<script>" not in said.html
        assert "{{" not in said.html.replace("{{ 7 * 191 }}", "")
        assert "1337" not in said.html, "what somebody wrote is no template"


def test_every_language_has_the_words_of_english() -> None:
    english, *others = (tomllib.loads((OURS / f"{name}.toml").read_text()) for name in ["en", *LOCALES])
    for other in others:
        assert {name: sorted(texts) for name, texts in other.items()} == {k: sorted(v) for k, v in english.items()}


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "written"),
    [
        ("1324.40", "EUR", "en", "€1,324.40"),
        ("1324.40", "EUR", "de", "1.324,40 €"),
        ("1324", "JPY", "en", "¥1,324"),
        ("1.500", "KWD", "en", "KWD 1.500"),
        ("5.00", "HUF", "en", "HUF 5.00"),
        ("500.00", "INR", "hi", "₹500.00"),
    ],
)
def test_amounts_have_the_decimals_of_the_currency(amount: str, currency: str, locale: str, written: str) -> None:
    assert money(amount, currency, locale_of(locale)).replace("\xa0", " ") == written


def test_a_seller_sees_its_share_of_a_dispute() -> None:
    values = values_of("dispute.needs_response", DATA["dispute"], material(), "en")
    assert (values["amount"], values["due"]) == ("€4.50", "December 24, 2026")
    assert values_of("dispute.needs_response", DATA["dispute"], material(share=None), "en")["amount"] == ""


def test_a_deployment_s_own_words_go_first_and_a_tenant_s_before_them(tmp_path: Path) -> None:
    (tmp_path / "shop_1").mkdir()
    (tmp_path / "en.toml").write_text('[receipt]\nsubject = "Paid: {{ amount }}"\n')
    (tmp_path / "shop_1" / "en.toml").write_text('[receipt]\nheading = "Hey!"\n')
    (tmp_path / "shop_1" / "mail.txt").write_text("{{ heading }} {{ subject }}")
    values = values_of("payment.succeeded", DATA["payment"], material(), "en")
    own, other = (Words(tmp_path).render(name, "receipt", "en", values) for name in ("shop_1", "shop_2"))
    assert own.text == "Hey! Paid: €1,324.40"
    assert other.subject == "Paid: €1,324.40"
    assert other.text.startswith("Thank you")


def test_words_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    values = values_of("payment.succeeded", DATA["payment"], material(), "en")
    for wrong in ("{{ nothing_of_ours }}", "{{ shop.__class__.__mro__ }}", "{% if %}"):
        (tmp_path / "en.toml").write_text(f'[receipt]\nsubject = "{wrong}"\n')
        with pytest.raises(WordsError):
            Words(tmp_path).render("t", "receipt", "en", values)


def test_a_language_without_words_is_written_in_english() -> None:
    values = values_of("payment.succeeded", DATA["payment"], material(), "fr")
    said = Words().render("t", "receipt", "fr", values)
    assert said.subject.startswith("Your receipt")
    assert Words().render("t", "receipt", "de_AT", values).subject.startswith("Ihr Beleg")
    assert is_locale("de-AT")
    assert not is_locale("../en")


def test_attempts_end() -> None:
    waits = [next_attempt_in(attempts) for attempts in range(1, 9)]
    assert waits[-1] is None
    assert all(waits[:-1])
