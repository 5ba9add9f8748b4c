"""A classification of the columns that can hold text, JSON or bytes: whose data it is, and how it is kept.

A column that is not here fails a test: whoever adds one decides what it is, and `docs/data.md` says it to others.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of what a column holds; `OWN` alone says nothing of anybody."""

    OWN = "ids, words and sums of ours and of the PSP"
    SHOP = "names that a shop gives: of its checkouts, orders, keys and sites"
    BUYER = (
        "tells of a buyer, in clear; replaced when the buyer is forgotten, or gone with the payment's end or its time"
    )
    SELLER = "a seller: a business partner, kept with the books"
    STAFF = "people who work here or at the shop: names, notes and addresses of what they did; kept with the books"
    STATEMENT = "files of PSPs and banks, and their lines: the evidence of a reconciliation, kept with the books"
    PERSON_KEY = "tells of a buyer, encrypted under the buyer's key"
    RING_KEY = "a secret, encrypted under a key of the ring"
    DIGEST = "a digest, by which something is found or recognised and from which it cannot be read"
    SECRET_HASH = "the hash of a random secret, or of a password (scrypt)"  # noqa: S105 - the words for one


_COLUMNS: Mapping[str, Mapping[Kind, str]] = {
    "api_key": {
        Kind.OWN: "id tenant_id scopes prefix role",
        Kind.SECRET_HASH: "secret_hash",
        Kind.SELLER: "seller_account",
        Kind.SHOP: "name",
    },
    "audit_log": {
        Kind.OWN: "tenant_id action object_id",
        Kind.STAFF: "actor detail address",
    },
    "charge": {
        Kind.OWN: "id tenant_id payment_id psp key currency outcome reference received_currency fee last_answer",
    },
    "dead_letter": {
        Kind.OWN: "id tenant_id source ref_id object_id error_class error status replay_id",
        Kind.STAFF: "actor reason",
    },
    "discrepancy": {
        Kind.OWN: (
            "id tenant_id psp subject fingerprint class kind reason how object_id payment_id record_status "
            "line_run_id line_reference there_currency record_currency ledger_currency currency differences "
            "fix fix_note status first_run_id last_run_id resolution ledger_transaction_id"
        ),
        Kind.STAFF: "note resolved_by",
    },
    "dispute": {
        Kind.OWN: "id tenant_id payment_id charge_id psp reference currency category status",
    },
    "dispute_evidence": {
        Kind.OWN: "id tenant_id dispute_id field_names status failure",
        Kind.PERSON_KEY: "fields",
        Kind.STAFF: "actor",
    },
    "dispute_transition": {
        Kind.OWN: "tenant_id dispute_id from_status to_status",
    },
    "event_sink": {
        Kind.OWN: "name",
    },
    "idempotency_key": {
        Kind.OWN: "tenant_id object_id",
        Kind.DIGEST: "request_hash",
        Kind.SHOP: "key",
    },
    "ledger_account": {
        Kind.OWN: "tenant_id name currency kind",
    },
    "ledger_balance": {
        Kind.OWN: "tenant_id account currency period",
    },
    "ledger_posting": {
        Kind.OWN: "tenant_id transaction_id account currency",
    },
    "ledger_seal": {
        Kind.OWN: "previous hash",
    },
    "ledger_seal_row": {
        Kind.OWN: "transaction_id digests",
    },
    "ledger_transaction": {
        Kind.OWN: "id tenant_id kind source_id payment_id order_id corrects",
    },
    "login_throttle": {
        Kind.OWN: "kind",
    },
    "merchant": {
        Kind.OWN: (
            "id tenant_id status psp_fee_payer dispute_fee_payer platform_fee_on_refund payout_interval payout_minimum"
        ),
        Kind.SELLER: "seller_account name country payout_account",
    },
    "notification": {
        Kind.OWN: (
            "id tenant_id event_id type object_id channel template locale content_sid status code provider_id "
            "suppression_id"
        ),
        Kind.SELLER: "recipient",
    },
    "notification_contact": {
        Kind.OWN: "id tenant_id locale",
        Kind.SELLER: "recipient",
        Kind.RING_KEY: "email phone",
    },
    "notification_setting": {
        Kind.OWN: "tenant_id type channel audience template locale content_sid",
    },
    "operator_task": {
        Kind.OWN: "id tenant_id payment_id object_id kind detail",
        Kind.STAFF: "closed_by resolution",
    },
    "operator": {
        Kind.OWN: "tenant_id role",
        Kind.STAFF: "name",
        Kind.RING_KEY: "totp_secret",
        Kind.SECRET_HASH: "password_hash recovery_codes",
    },
    "operator_session": {
        Kind.OWN: "tenant_id",
        Kind.STAFF: "operator_name address",
        Kind.SECRET_HASH: "token_hash",
    },
    "outbox": {
        Kind.OWN: "id tenant_id type object_id",
        Kind.SELLER: "payload",
    },
    "payment": {
        Kind.OWN: "id tenant_id currency status psp method on_partial_failure",
        Kind.RING_KEY: "token sealed_action",
        Kind.PERSON_KEY: "buyer_email buyer_phone",
        Kind.BUYER: "buyer_id metadata return_url buyer_country card_fingerprint next_action",
        Kind.SHOP: "checkout_id statement_descriptor",
        Kind.STAFF: "cancel_requested_by capture_requested_by accepted_by",
    },
    "payment_order": {
        Kind.OWN: "id tenant_id payment_id currency status failure refund_status dispute_status",
        Kind.SHOP: "payment_order_id",
        Kind.SELLER: "seller_account",
    },
    "payment_order_transition": {
        Kind.OWN: "tenant_id payment_id order_id from_status to_status",
        Kind.STAFF: "reason actor",
    },
    "payout": {
        Kind.OWN: (
            "id tenant_id currency psp run_id status ends_as transfer_reference reference failure cancel_failure"
        ),
        Kind.SELLER: "seller_account destination",
        Kind.STAFF: "cancel_requested_by actor",
    },
    "payout_call": {
        Kind.OWN: "key tenant_id payout_id call outcome reference failure",
    },
    "payout_item": {
        Kind.OWN: "payout_id tenant_id",
    },
    "payout_run": {
        Kind.OWN: "id",
        Kind.STAFF: "actor",
    },
    "payout_trace": {
        Kind.OWN: "psp reference trace_id",
    },
    "payout_transition": {
        Kind.OWN: "tenant_id payout_id from_status to_status reason",
    },
    "person": {
        Kind.OWN: "id tenant_id",
        Kind.RING_KEY: "key",
        Kind.BUYER: "buyer_id",
    },
    "person_email": {
        Kind.OWN: "tenant_id person_id",
        Kind.PERSON_KEY: "email",
        Kind.DIGEST: "digest",
    },
    "reconciliation_item": {
        Kind.OWN: (
            "run_id tenant_id line_reference class kind how object_id payment_id record_status "
            "there_currency record_currency ledger_currency reason discrepancy_id"
        ),
    },
    "reconciliation_line": {
        Kind.OWN: "run_id reference kind currency source_reference charge_reference our_reference",
        Kind.STATEMENT: "description names",
    },
    "reconciliation_run": {
        Kind.OWN: "id tenant_id psp subject source file_id file_sha256 zone status cursor notes counts failure",
        Kind.SHOP: "key file_name",
        Kind.STAFF: "actor",
    },
    "refund": {
        Kind.OWN: (
            "id tenant_id payment_id order_id charge_id origin source_id currency status ends_as ends_with "
            "reference failure"
        ),
        Kind.BUYER: "reason",
        Kind.STAFF: "actor",
    },
    "reserve": {
        Kind.OWN: "id tenant_id source_id payment_id order_id currency status",
        Kind.SELLER: "seller_account",
    },
    "risk_decision": {
        Kind.OWN: "payment_id stage tenant_id verdict reasons review",
        Kind.BUYER: "facts review_note",
        Kind.STAFF: "reviewed_by",
    },
    "risk_rule_set": {
        Kind.OWN: "tenant_id",
        Kind.SHOP: "rules",
        Kind.STAFF: "actor",
    },
    "settlement_file": {
        Kind.OWN: "id tenant_id kind sha256",
        Kind.SHOP: "name",
        Kind.STAFF: "actor",
    },
    "settlement_file_chunk": {
        Kind.OWN: "file_id",
        Kind.RING_KEY: "data",
    },
    "suppression": {
        Kind.OWN: "id tenant_id channel reason code",
        Kind.DIGEST: "digest",
    },
    "tenant": {
        Kind.OWN: "id",
        Kind.SHOP: "name return_origins page_origins",
    },
    "wallet": {
        Kind.OWN: "tenant_id currency",
        Kind.SELLER: "seller_account",
    },
    "webhook_attempt": {
        Kind.OWN: "delivery_id tenant_id error",
        Kind.SHOP: "address response",
    },
    "webhook_delivery": {
        Kind.OWN: "id tenant_id endpoint_id event_id type object_id status",
    },
    "webhook_endpoint": {
        Kind.OWN: "id tenant_id types status disabled_because",
        Kind.SHOP: "url",
        Kind.RING_KEY: "secret old_secret",
    },
    "webhook_inbox": {
        Kind.OWN: (
            "id tenant_id psp event_id type reference payment_id charge_id charge_reference refund_id "
            "dispute_id payout_id kind currency status"
        ),
        Kind.BUYER: "payload",
        Kind.STAFF: "note",
    },
}


def classified() -> Iterator[tuple[str, str, Kind]]:
    """(table, column, kind) of every column that is classified."""
    for table, kinds in _COLUMNS.items():
        for kind, names in kinds.items():
            for name in names.split():
                yield table, name, kind
