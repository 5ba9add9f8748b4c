-- The tables of the peers, each in a schema of its own: as much data for a payment as Paysaga stores, with the same
-- keys and guards, without its triggers, tenants and history.
CREATE TABLE idempotency_key (
    key text PRIMARY KEY, hash bytea NOT NULL, payment_id text NOT NULL, created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE payment (
    id text PRIMARY KEY, checkout_id text NOT NULL UNIQUE, buyer_id text NOT NULL, currency text NOT NULL,
    amount bigint NOT NULL, status text NOT NULL, psp text NOT NULL, method text NOT NULL, token bytea NOT NULL,
    version integer NOT NULL DEFAULT 1, metadata jsonb NOT NULL DEFAULT '{}', reference text,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON payment (buyer_id, created_at);
CREATE TABLE payment_order (
    id text PRIMARY KEY, payment_id text NOT NULL REFERENCES payment, position smallint NOT NULL,
    seller text NOT NULL, amount bigint NOT NULL, fee bigint NOT NULL, status text NOT NULL,
    UNIQUE (payment_id, position)
);
CREATE INDEX ON payment_order (seller);
CREATE TABLE charge (
    id text PRIMARY KEY, payment_id text NOT NULL REFERENCES payment, attempt smallint NOT NULL, key text NOT NULL UNIQUE,
    status text NOT NULL, reference text, psp_fee bigint, UNIQUE (payment_id, attempt)
);
CREATE TABLE history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payment_id text NOT NULL, status text NOT NULL,
    actor text NOT NULL, at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON history (payment_id);
CREATE TABLE event (
    id text PRIMARY KEY, payment_id text NOT NULL, type text NOT NULL, payload jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE wallet (
    seller text PRIMARY KEY, pending bigint NOT NULL DEFAULT 0, version bigint NOT NULL DEFAULT 1
);
CREATE TABLE ledger_transaction (
    id text PRIMARY KEY, payment_id text NOT NULL UNIQUE, kind text NOT NULL, at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE ledger_posting (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, transaction_id text NOT NULL REFERENCES ledger_transaction,
    account text NOT NULL, amount bigint NOT NULL
);
CREATE INDEX ON ledger_posting (account, id);
