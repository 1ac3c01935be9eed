CREATE TABLE audit_budgets (
    key bytea NOT NULL,
    hour bigint NOT NULL,
    events bigint NOT NULL,
    withheld bigint NOT NULL,
    action text NOT NULL,
    subject_id text,
    ip text,
    CONSTRAINT audit_budgets_pkey PRIMARY KEY (key)
) WITH (fillfactor=70);

CREATE INDEX audit_budgets_by_hour ON audit_budgets USING btree (hour);

CREATE TABLE audit_log (
    sequence bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    id text NOT NULL,
    at bigint NOT NULL,
    action text NOT NULL,
    actor_id text,
    subject_id text,
    auth_impersonated_by text,
    ip text NOT NULL,
    user_agent text,
    outcome text NOT NULL,
    details text NOT NULL,
    mac bytea,
    position bigint,
    link bytea,
    CONSTRAINT audit_log_pkey PRIMARY KEY (sequence),
    CONSTRAINT audit_log_id_key UNIQUE (id)
);

CREATE INDEX audit_log_by_action ON audit_log USING btree (action, at, sequence);

CREATE INDEX audit_log_by_actor ON audit_log USING btree (actor_id, at, sequence) WHERE (actor_id IS NOT NULL);

CREATE INDEX audit_log_by_impersonator ON audit_log USING btree (auth_impersonated_by, at, sequence) WHERE (auth_impersonated_by IS NOT NULL);

CREATE INDEX audit_log_by_subject ON audit_log USING btree (subject_id, at, sequence) WHERE (subject_id IS NOT NULL);

CREATE INDEX audit_log_by_time ON audit_log USING btree (at, sequence);

CREATE INDEX audit_log_unlinked ON audit_log USING btree (sequence) WHERE ("position" IS NULL);

CREATE UNIQUE INDEX audit_log_position ON audit_log USING btree ("position") WHERE ("position" IS NOT NULL);

CREATE TABLE audit_segments (
    number bigint NOT NULL,
    first_position bigint NOT NULL,
    last_position bigint NOT NULL,
    former_link bytea,
    last_link bytea NOT NULL,
    row_digest bytea NOT NULL,
    closed_at bigint NOT NULL,
    signing_key bytea NOT NULL,
    signature bytea NOT NULL,
    CONSTRAINT audit_segments_pkey PRIMARY KEY (number)
);

CREATE TABLE collections (
    id text NOT NULL,
    name text NOT NULL,
    fields text NOT NULL,
    options text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    state text NOT NULL DEFAULT 'ready'::text,
    CONSTRAINT collections_pkey PRIMARY KEY (id),
    CONSTRAINT collections_name UNIQUE (name)
);

CREATE TABLE heartbeats (
    node text NOT NULL,
    beat_at bigint NOT NULL,
    CONSTRAINT heartbeats_pkey PRIMARY KEY (node)
);

CREATE TABLE identities (
    id text NOT NULL,
    collection_id text NOT NULL,
    user_id text NOT NULL,
    provider text NOT NULL,
    realm text NOT NULL,
    subject text NOT NULL,
    email text,
    created_at bigint NOT NULL,
    last_used_at bigint NOT NULL,
    CONSTRAINT identities_pkey PRIMARY KEY (id),
    CONSTRAINT identities_collection_id_provider_realm_subject_key UNIQUE (collection_id, provider, realm, subject),
    CONSTRAINT identities_user_id_provider_realm_key UNIQUE (user_id, provider, realm)
);

CREATE TABLE jobs (
    id text NOT NULL,
    kind text NOT NULL,
    collection_id text NOT NULL,
    payload text NOT NULL,
    place text,
    done bigint NOT NULL,
    created_at bigint NOT NULL,
    CONSTRAINT jobs_pkey PRIMARY KEY (id)
);

CREATE TABLE key_fingerprints (
    purpose text NOT NULL,
    fingerprint text NOT NULL,
    CONSTRAINT key_fingerprints_pkey PRIMARY KEY (purpose)
);

CREATE TABLE leases (
    name text NOT NULL,
    holder text NOT NULL,
    beat bigint NOT NULL,
    CONSTRAINT leases_pkey PRIMARY KEY (name)
);

CREATE TABLE lockouts (
    key bytea NOT NULL,
    failures bigint NOT NULL,
    last_failed_at bigint NOT NULL,
    locked_until bigint NOT NULL,
    removal_day bigint NOT NULL DEFAULT 0,
    CONSTRAINT lockouts_pkey PRIMARY KEY (key)
) WITH (fillfactor=70);

CREATE INDEX lockouts_by_removal ON lockouts USING btree (removal_day);

CREATE TABLE one_time_tokens (
    digest bytea NOT NULL,
    purpose text NOT NULL,
    subject_id text,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    used_at bigint,
    slot text,
    code bytea,
    misses bigint NOT NULL DEFAULT 0,
    payload text,
    CONSTRAINT one_time_tokens_pkey PRIMARY KEY (digest)
) WITH (fillfactor=70);

CREATE INDEX one_time_tokens_by_expiry ON one_time_tokens USING btree (expires_at);

CREATE INDEX one_time_tokens_by_subject ON one_time_tokens USING btree (subject_id, purpose);

CREATE UNIQUE INDEX one_time_tokens_slot ON one_time_tokens USING btree (slot);

CREATE TABLE outbox (
    id text NOT NULL,
    state text NOT NULL,
    template text NOT NULL,
    collection text NOT NULL,
    user_id text,
    recipient text NOT NULL,
    content text,
    attempts bigint NOT NULL,
    refusals bigint NOT NULL,
    next_attempt_at bigint NOT NULL,
    last_error text,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    settled_at bigint,
    CONSTRAINT outbox_pkey PRIMARY KEY (id)
) WITH (fillfactor=70);

CREATE INDEX outbox_by_state ON outbox USING btree (state, id);

CREATE INDEX outbox_by_user ON outbox USING btree (user_id, created_at);

CREATE INDEX outbox_due ON outbox USING btree (next_attempt_at) WHERE (state = ANY (ARRAY['pending'::text, 'sending'::text, 'void'::text]));

CREATE INDEX outbox_inbox ON outbox USING btree (expires_at) WHERE (state = 'inbox'::text);

CREATE INDEX outbox_settled ON outbox USING btree (settled_at) WHERE (settled_at IS NOT NULL);

CREATE TABLE schema_migrations (
    number bigint NOT NULL,
    name text NOT NULL,
    digest text NOT NULL,
    applied_at bigint NOT NULL,
    CONSTRAINT schema_migrations_pkey PRIMARY KEY (number)
);

CREATE TABLE secrets (
    id text NOT NULL,
    user_id text NOT NULL,
    type text NOT NULL,
    hash text NOT NULL,
    created_at bigint NOT NULL,
    last_used_at bigint,
    state text,
    sealed text,
    last_step bigint,
    bucket bigint,
    name text,
    lookup bytea,
    expires_at bigint,
    scopes text,
    is_primary boolean NOT NULL DEFAULT false,
    issued_by text,
    CONSTRAINT secrets_pkey PRIMARY KEY (id)
) WITH (fillfactor=70);

CREATE INDEX secrets_by_expiry ON secrets USING btree (expires_at) WHERE (expires_at IS NOT NULL);

CREATE INDEX secrets_by_user ON secrets USING btree (user_id);

CREATE UNIQUE INDEX secrets_lookup ON secrets USING btree (lookup);

CREATE UNIQUE INDEX secrets_mfa ON secrets USING btree (user_id) WHERE (type = 'mfa'::text);

CREATE UNIQUE INDEX secrets_primary ON secrets USING btree (user_id) WHERE (is_primary = true);

CREATE UNIQUE INDEX secrets_user_id ON secrets USING btree (user_id) WHERE (type = 'password'::text);

CREATE TABLE session_generations (
    generation bigint NOT NULL,
    began_at bigint NOT NULL,
    end_reason text NOT NULL,
    CONSTRAINT session_generations_pkey PRIMARY KEY (generation)
);

CREATE TABLE sessions (
    id text NOT NULL,
    user_id text NOT NULL,
    collection_id text NOT NULL,
    kind text NOT NULL,
    methods text NOT NULL,
    proved_at bigint NOT NULL,
    ip text NOT NULL,
    user_agent text,
    created_at bigint NOT NULL,
    last_seen_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    ended_at bigint,
    end_reason text,
    access_tokens text,
    not_valid_after bigint,
    secret_id text,
    impersonated_by text,
    impersonating_session text,
    removal_day bigint NOT NULL DEFAULT 0,
    generation bigint NOT NULL DEFAULT 0,
    CONSTRAINT sessions_pkey PRIMARY KEY (id)
) WITH (fillfactor=70);

CREATE INDEX sessions_by_removal ON sessions USING btree (removal_day);

CREATE INDEX sessions_by_user ON sessions USING btree (user_id) WHERE (ended_at IS NULL);

CREATE INDEX sessions_of_guests ON sessions USING btree (user_id) WHERE (kind = 'anonymous'::text);

CREATE TABLE settings (
    key text NOT NULL,
    value text NOT NULL,
    is_sealed boolean NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT settings_pkey PRIMARY KEY (key)
);

CREATE TABLE signing_secrets (
    fingerprint text NOT NULL,
    sealed text,
    created_at bigint NOT NULL,
    replaced_at bigint,
    CONSTRAINT signing_secrets_pkey PRIMARY KEY (fingerprint)
);

CREATE TABLE unique_values (
    collection_id text NOT NULL,
    field text NOT NULL,
    value text NOT NULL,
    user_id text NOT NULL,
    CONSTRAINT unique_values_collection_id_fkey FOREIGN KEY (collection_id) REFERENCES collections(id) ON DELETE CASCADE,
    CONSTRAINT unique_values_collection_id_field_value PRIMARY KEY (collection_id, field, value)
);

CREATE INDEX unique_values_by_user ON unique_values USING btree (user_id);

CREATE TABLE users (
    id text NOT NULL,
    collection_id text NOT NULL,
    kind text NOT NULL,
    status text NOT NULL,
    email text,
    email_folded text,
    username text,
    username_folded text,
    email_verified boolean NOT NULL DEFAULT false,
    anonymous boolean NOT NULL DEFAULT false,
    data text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    last_login_at bigint,
    pending_email text,
    mfa_enabled boolean NOT NULL DEFAULT false,
    email_verified_at bigint,
    notices_since bigint,
    notice_count bigint NOT NULL DEFAULT 0,
    CONSTRAINT users_check CHECK (((kind = 'system'::text) OR (email IS NOT NULL))),
    CONSTRAINT users_kind_check CHECK ((kind = ANY (ARRAY['human'::text, 'system'::text]))),
    CONSTRAINT users_status_check CHECK ((status = ANY (ARRAY['active'::text, 'pending'::text, 'suspended'::text]))),
    CONSTRAINT users_collection_id_fkey FOREIGN KEY (collection_id) REFERENCES collections(id),
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_collection_id_email_folded UNIQUE (collection_id, email_folded),
    CONSTRAINT users_collection_id_username_folded UNIQUE (collection_id, username_folded)
) WITH (fillfactor=70);

CREATE INDEX users_by_creation ON users USING btree (collection_id, created_at, id);

CREATE INDEX users_guests ON users USING btree (created_at, id) WHERE (anonymous = true);
