CREATE TABLE audit_budgets (
    key BLOB NOT NULL PRIMARY KEY,
    hour INTEGER NOT NULL,
    events INTEGER NOT NULL,
    withheld INTEGER NOT NULL,
    action TEXT NOT NULL,
    subject_id TEXT,
    ip TEXT
) STRICT;

CREATE INDEX audit_budgets_by_hour ON audit_budgets (hour);

CREATE TABLE audit_log (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    action TEXT NOT NULL,
    actor_id TEXT,
    subject_id TEXT,
    auth_impersonated_by TEXT,
    ip TEXT NOT NULL,
    user_agent TEXT,
    outcome TEXT NOT NULL,
    details TEXT NOT NULL
, mac BLOB, position INTEGER, link BLOB) STRICT;

CREATE INDEX audit_log_by_action ON audit_log (action, at, sequence);

CREATE INDEX audit_log_by_actor ON audit_log (actor_id, at, sequence) WHERE actor_id IS NOT NULL;

CREATE INDEX audit_log_by_impersonator ON audit_log (auth_impersonated_by, at, sequence)
    WHERE auth_impersonated_by IS NOT NULL;

CREATE INDEX audit_log_by_subject ON audit_log (subject_id, at, sequence) WHERE subject_id IS NOT NULL;

CREATE INDEX audit_log_by_time ON audit_log (at, sequence);

CREATE UNIQUE INDEX audit_log_position ON audit_log (position) WHERE position IS NOT NULL;

CREATE INDEX audit_log_unlinked ON audit_log (sequence) WHERE position IS NULL;

CREATE TABLE audit_segments (
    number INTEGER NOT NULL PRIMARY KEY,
    first_position INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    former_link BLOB,
    last_link BLOB NOT NULL,
    row_digest BLOB NOT NULL,
    closed_at INTEGER NOT NULL,
    signing_key BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT;

CREATE TABLE collections (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    fields TEXT NOT NULL,
    options TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'ready',
    CONSTRAINT collections_name UNIQUE (name)
) STRICT;

CREATE TABLE heartbeats (
    node TEXT NOT NULL PRIMARY KEY,
    beat_at INTEGER NOT NULL
) STRICT;

CREATE TABLE identities (
    id TEXT NOT NULL PRIMARY KEY,
    collection_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    realm TEXT NOT NULL,
    subject TEXT NOT NULL,
    email TEXT,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    UNIQUE (collection_id, provider, realm, subject),
    UNIQUE (user_id, provider, realm)
) STRICT;

CREATE TABLE jobs (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    collection_id TEXT NOT NULL,
    payload TEXT NOT NULL,
    place TEXT,
    done INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE key_fingerprints (
    purpose TEXT NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL
) STRICT;

CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    beat INTEGER NOT NULL
) STRICT;

CREATE TABLE lockouts (
    key BLOB NOT NULL PRIMARY KEY,
    failures INTEGER NOT NULL,
    last_failed_at INTEGER NOT NULL,
    locked_until INTEGER NOT NULL
, removal_day INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE INDEX lockouts_by_removal ON lockouts (removal_day);

CREATE TABLE one_time_tokens (
    digest BLOB NOT NULL PRIMARY KEY,
    purpose TEXT NOT NULL,
    subject_id TEXT REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
, slot TEXT, code BLOB, misses INTEGER NOT NULL DEFAULT 0, payload TEXT) STRICT;

CREATE INDEX one_time_tokens_by_expiry ON one_time_tokens (expires_at);

CREATE INDEX one_time_tokens_by_subject ON one_time_tokens (subject_id, purpose);

CREATE UNIQUE INDEX one_time_tokens_slot ON one_time_tokens (slot);

CREATE TABLE outbox (
    id TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    template TEXT NOT NULL,
    collection TEXT NOT NULL,
    user_id TEXT,
    recipient TEXT NOT NULL,
    content TEXT,
    attempts INTEGER NOT NULL,
    refusals INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    last_error TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    settled_at INTEGER
) STRICT;

CREATE INDEX outbox_by_state ON outbox (state, id);

CREATE INDEX outbox_by_user ON outbox (user_id, created_at);

CREATE INDEX outbox_due ON outbox (next_attempt_at) WHERE state IN ('pending', 'sending', 'void');

CREATE INDEX outbox_inbox ON outbox (expires_at) WHERE state = 'inbox';

CREATE INDEX outbox_settled ON outbox (settled_at) WHERE settled_at IS NOT NULL;

CREATE TABLE schema_migrations (
    number INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;

CREATE TABLE secrets (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    type TEXT NOT NULL,
    hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER
, state TEXT, sealed TEXT, last_step INTEGER, bucket INTEGER, name TEXT, lookup BLOB, expires_at INTEGER, scopes TEXT, is_primary INTEGER NOT NULL DEFAULT 0, issued_by TEXT) STRICT;

CREATE INDEX secrets_by_expiry ON secrets (expires_at) WHERE expires_at IS NOT NULL;

CREATE INDEX secrets_by_user ON secrets (user_id);

CREATE UNIQUE INDEX secrets_lookup ON secrets (lookup);

CREATE UNIQUE INDEX secrets_mfa ON secrets (user_id) WHERE type = 'mfa';

CREATE UNIQUE INDEX secrets_primary ON secrets (user_id) WHERE is_primary = TRUE;

CREATE UNIQUE INDEX secrets_user_id ON secrets (user_id) WHERE type = 'password';

CREATE TABLE session_generations (
    generation INTEGER NOT NULL PRIMARY KEY,
    began_at INTEGER NOT NULL,
    end_reason TEXT NOT NULL
) STRICT;

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    collection_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    methods TEXT NOT NULL,
    proved_at INTEGER NOT NULL,
    ip TEXT NOT NULL,
    user_agent TEXT,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at INTEGER,
    end_reason TEXT
, access_tokens TEXT, not_valid_after INTEGER, secret_id TEXT, impersonated_by TEXT, impersonating_session TEXT, removal_day INTEGER NOT NULL DEFAULT 0, generation INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE INDEX sessions_by_removal ON sessions (removal_day);

CREATE INDEX sessions_by_user ON sessions (user_id) WHERE ended_at IS NULL;

CREATE INDEX sessions_of_guests ON sessions (user_id) WHERE kind = 'anonymous';

CREATE TABLE settings (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    is_sealed INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE signing_secrets (
    fingerprint TEXT NOT NULL PRIMARY KEY,
    sealed TEXT,
    created_at INTEGER NOT NULL,
    replaced_at INTEGER
) STRICT;

CREATE TABLE unique_values (
    collection_id TEXT NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT unique_values_collection_id_field_value PRIMARY KEY (collection_id, field, value)
) STRICT;

CREATE INDEX unique_values_by_user ON unique_values (user_id);

CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    collection_id TEXT NOT NULL REFERENCES collections (id),
    kind TEXT NOT NULL CHECK (kind IN ('human', 'system')),
    status TEXT NOT NULL CHECK (status IN ('active', 'pending', 'suspended')),
    email TEXT,
    email_folded TEXT,
    username TEXT,
    username_folded TEXT,
    email_verified INTEGER NOT NULL DEFAULT 0,
    anonymous INTEGER NOT NULL DEFAULT 0,
    data TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_login_at INTEGER, pending_email TEXT, mfa_enabled INTEGER NOT NULL DEFAULT 0, email_verified_at INTEGER, notices_since INTEGER, notice_count INTEGER NOT NULL DEFAULT 0,
    CHECK (kind = 'system' OR email IS NOT NULL),
    CONSTRAINT users_collection_id_email_folded UNIQUE (collection_id, email_folded),
    CONSTRAINT users_collection_id_username_folded UNIQUE (collection_id, username_folded)
) STRICT;

CREATE INDEX users_by_creation ON users (collection_id, created_at, id);

CREATE INDEX users_guests ON users (created_at, id) WHERE anonymous = TRUE;
