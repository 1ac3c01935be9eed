import OrderedCollections
import Storage

/// Accounts: made by their owners or by admins, read, changed, removed.
struct Accounts: Sendable {
    let services: Services
    let passwords: Passwords

    /// Makes an account for whoever asks, if the collection lets people register.
    ///
    /// A link that verifies the email is mailed if mail can go out. With `auth.enumeration_safe` on and mail, an email
    /// that is taken gets the same answer as one that is free, and its owner a mail.
    ///
    /// Throws `forbidden`, `validation_failed`, `email_taken`, `username_taken`, `value_taken`.
    func register(_ body: JSON.Members, in collection: Collection, from client: Client) async throws
        -> User
    {
        guard collection.options.registration && !collection.isAdmins else {
            throw AuthError(.forbidden, "Accounts of this collection are made by admins.")
        }
        let new = NewAccount(kind: .human, status: .active, isEmailVerified: false, handled: ["password"])
        let outbox = try await services.outboxIfOn()
        let isEnumerationSafe = try await services.settings().isOn("auth.enumeration_safe")
        return try await create(
            new,
            body,
            in: collection,
            event: .userRegistered,
            insteadOf: { [services] user, tx in
                guard let outbox, isEnumerationSafe, let email = user.email else { return false }
                let name = SignInName(kind: .email, text: email)
                guard let owner = try tx.user(named: name, in: collection.id) else { return false }
                // What else is refused must be refused alike.
                try tx.checkNothingElseTaken(by: user, schema: collection.schema)
                let actor = Actor(id: nil, client: client)
                try tx.audit(.registrationRefused, by: actor, on: owner.id, outcome: .failure, services)
                try outbox.notify(owner, of: .registrationAttempted, in: collection, from: client, tx)
                return true
            },
            then: { user, tx in try outbox?.mailToken(.verify, to: user.addressee(), in: collection, tx) },
            by: { Actor(id: $0, client: client) }
        )
    }

    /// Makes an admin.
    ///
    /// `condition` runs first in the transaction and may refuse by throwing.
    func createAdmin(
        email: String,
        password: Secret<String>,
        event: AuditEvent = .userCreated,
        by actor: Actor,
        unless condition: @escaping @Sendable (Transaction, CollectionID) throws -> Void = { _, _ in }
    ) async throws -> User {
        let admins = try await services.adminsCollection()
        let new = NewAccount(kind: .human, status: .active, isEmailVerified: false, handled: ["password"])
        let body: JSON.Members = ["email": .string(email), "password": .string(password.reveal())]
        return try await create(new, body, in: admins, event: event, unless: condition) { _ in actor }
    }

    /// Makes an account of either kind for somebody else; a system user has no password.
    ///
    /// Throws like ``register(_:in:from:)``.
    func create(_ new: NewAccount, _ body: JSON.Members, in collection: Collection, by actor: Actor)
        async throws -> User
    {
        try await create(new, body, in: collection, event: .userCreated) { _ in actor }
    }

    /// What a creation sets beside the fields.
    struct NewAccount: Sendable {
        let kind: User.Kind
        let status: User.Status
        let isEmailVerified: Bool
        /// Keys of the body that are not fields of the record.
        let handled: Set<String>
    }

    private func create(
        _ new: NewAccount,
        _ body: JSON.Members,
        in collection: Collection,
        event: AuditEvent,
        unless condition: @escaping @Sendable (Transaction, CollectionID) throws -> Void = { _, _ in },
        insteadOf: @escaping @Sendable (User, Transaction) throws -> Bool = { _, _ in false },
        then: @escaping @Sendable (User, Transaction) throws -> Void = { _, _ in },
        by actor: @escaping @Sendable (UserID) -> Actor
    ) async throws -> User {
        let (input, password) = try await validated(new, body, in: collection)
        let hashed: PasswordHash? =
            if let password { try await services.hasher.hash(password) } else { nil }
        let now = services.clock.now()
        let user = try User(
            UserID(at: now, random: services.random),
            input,
            kind: new.kind,
            status: new.status,
            isEmailVerified: new.isEmailVerified,
            in: collection,
            at: now
        )
        let secretID = Identifier<PasswordHash>(at: now, random: services.random)
        try await services.write(as: actor(user.id)) { [services] tx in
            try condition(tx, collection.id)
            try tx.checkUnchanged(collection)
            if try insteadOf(user, tx) { return }
            try tx.insertUser(user, schema: collection.schema)
            if let hashed { try tx.insertPassword(hashed, of: user.id, id: secretID, at: now) }
            try tx.audit(
                event,
                by: actor(user.id),
                on: user.id,
                details: ["collection": .string(collection.name)],
                services
            )
            try then(user, tx)
        }
        return user
    }

    /// Every problem of the fields and the password in one answer, before anything is hashed.
    func validated(
        _ new: NewAccount,
        _ body: JSON.Members,
        in collection: Collection
    ) async throws -> (input: RecordInput, password: Secret<String>?) {
        let policy = PasswordPolicy(try await services.settings())
        var problems: [String: String] = [:]
        var password: Secret<String>?
        switch (new.kind, body["password"] ?? .null) {
        case (.system, .null): break
        case (.system, _): problems["password"] = "can't be set: system users act through API keys"
        case (.human, .string(let text)) where !text.isEmpty:
            password = Secret(text)
            problems["password"] =
                text.utf8.contains(0)
                ? "must not contain NUL characters" : policy.problem(with: text, email: body["email"]?.text)
        case (.human, .null), (.human, .string): problems["password"] = "is required"
        case (.human, _): problems["password"] = "must be a text"
        }
        do {
            let input = try RecordInput(body, for: .create(new.kind), in: collection, handled: new.handled)
            guard problems.isEmpty else { throw AuthError.validation(problems) }
            return (input, password)
        } catch let error as AuthError where error.code == .validationFailed {
            throw AuthError.validation(error.details.merging(problems) { own, _ in own })
        }
    }

    /// The account.
    ///
    /// Throws `not_found`.
    func find(_ id: UserID, in collection: Collection) async throws -> User {
        guard let user = try await services.db.read({ tx in try tx.user(id, in: collection.id) }) else {
            throw AuthError(.notFound)
        }
        return user
    }

    /// A page of the accounts that pass the filter, oldest first.
    func list(in collection: Collection, filter: RecordFilter, page: Paging) async throws -> PageOf<User> {
        let list = ListQuery(
            name: "users:\(collection.id):\(filter.text)",
            table: "users",
            alternatives: ["collection_id = \(collection.id) AND \(filter.condition)"],
            order: ["created_at", "id"],
            isDescending: false,
            origin: filter.createdFrom.map { [.integer($0.milliseconds), .text("")] }
        ) { row in [.integer(try row.get("created_at")), .text(try row.get("id"))] }
        return try await services.page(page, of: list, User.init)
    }

    /// What an admin may change beside the fields.
    struct AdminChange: Sendable {
        var status: User.Status?
        var isEmailVerified: Bool?
        var password: Secret<String>?
    }

    /// Changes fields of an account, and as an admin its status, verification and password.
    ///
    /// A change that leaves everything as it is writes nothing, no audit row either.
    /// Suspension ends its sessions, and so does a new password. With `confirmingEmail`, a new email waits until it is
    /// confirmed from there, if mail can go out. The owner is told of a new password or email.
    ///
    /// Throws `not_found`, `validation_failed`, `email_taken`, `username_taken`, `value_taken`, `rate_limited`,
    /// `session_ended`.
    func change(
        _ id: UserID,
        in collection: Collection,
        to input: RecordInput,
        _ admin: AdminChange = AdminChange(),
        confirmingEmail: Bool = false,
        by actor: Actor
    ) async throws -> User {
        let email = try await find(id, in: collection).email
        let hashed: PasswordHash? =
            if let password = admin.password {
                try await passwords.hash(password, email: input.email?.text ?? email)
            } else { nil }
        let now = services.clock.now()
        let secretID = Identifier<PasswordHash>(at: now, random: services.random)
        let outbox = try await services.outboxIfOn()
        let isEnumerationSafe = try await services.settings().isOn("auth.enumeration_safe")
        return try await services.write(as: actor) { [services] tx in
            try tx.checkUnchanged(collection)
            guard let old = try tx.user(id, in: collection.id) else { throw AuthError(.notFound) }
            guard old.kind == .human || hashed == nil else {
                throw AuthError.validation(["password": "can't be set: system users act through API keys"])
            }
            guard !old.isAnonymous || hashed == nil else { throw AuthError.guestPassword("password") }
            // Where there is mail, the address that waits is written last, so that the record has it.
            let waiting = confirmingEmail && outbox != nil && input.email?.text != old.email ? input.email : nil
            var user = try old.changed(by: waiting == nil ? input : input.withoutEmail, admin, at: now)
            // A change that changes nothing writes nothing.
            guard waiting != nil || hashed != nil || !user.holdsTheSame(as: old) else { return old }
            if collection.isAdmins && user.status != .active { try tx.checkAnotherAdmin(than: id, in: collection.id) }
            try tx.updateUser(user, schema: collection.schema)
            try tx.audit(
                .userUpdated,
                by: actor,
                on: id,
                details: ["fields": .list(user.namesChanged(from: old))],
                services
            )
            if user.status != old.status {
                if user.status != .active {
                    try tx.endSessions(of: id, because: .suspended, at: now)
                    try tx.revokeOneTimeTokens(of: id)
                }
                let details: AuditDetails = ["from": .string(old.status.rawValue), "to": .string(user.status.rawValue)]
                try tx.audit(.userStatusChanged, by: actor, on: id, details: details, services)
            }
            if let hashed {
                try tx.putPassword(hashed, of: id, id: secretID, at: now)
                try tx.endSessions(of: id, because: .passwordChanged, at: now)
                try tx.audit(.passwordSet, by: actor, on: id, services)
                try outbox?.notify(user, of: .passwordChanged, in: collection, from: actor.client, tx)
            }
            if user.email != old.email {
                try tx.revokeOneTimeTokens(of: id)
                let notice = Notice.emailChanged(to: user.email ?? "")
                try outbox?.notify(user, at: old.email, of: notice, in: collection, from: actor.client, tx)
            } else if old.pendingEmail != nil && user.pendingEmail == nil {
                try tx.revokeOneTimeToken(for: .emailChange, of: id)
                try tx.audit(.emailChangeCancelled, by: actor, on: id, services)
            }
            if let waiting, let outbox {
                let name = SignInName(kind: .email, text: waiting.text)
                let isTaken = try tx.user(named: name, in: collection.id).map { $0.id != id } ?? false
                guard !isTaken || isEnumerationSafe else {
                    throw AuthError(.emailTaken, details: ["email": "is already taken"])
                }
                try outbox.askToConfirm(
                    waiting,
                    of: user,
                    isTaken: isTaken,
                    in: collection,
                    from: actor.client,
                    tx
                )
                try tx.audit(.emailChangeRequested, by: actor, on: id, services)
                user.pendingEmail = waiting.text
            }
            return user
        }
    }

    /// Removes an account.
    ///
    /// Throws `not_found`, or `last_admin`; an admin is removed by another one.
    func delete(_ id: UserID, in collection: Collection, by actor: Actor) async throws {
        let now = services.clock.now()
        try await services.write(as: actor) { [services] tx in
            guard try tx.user(id, in: collection.id) != nil else { throw AuthError(.notFound) }
            if collection.isAdmins {
                guard actor.id != id else {
                    throw AuthError(.lastAdmin, "You can't remove yourself: another admin can.")
                }
                try tx.checkAnotherAdmin(than: id, in: collection.id)
            }
            _ = try tx.deleteUser(id, at: now)
            try tx.audit(.userDeleted, by: actor, on: id, details: ["collection": .string(collection.name)], services)
        }
    }
}

extension User {
    /// Which fields differ, for the audit log: names, not values.
    fileprivate func namesChanged(from old: User) -> [String] {
        let implicit = [
            (FieldSchema.email, email != old.email || pendingEmail != old.pendingEmail),
            (FieldSchema.username, username != old.username),
        ]
        let own = data.filter { old.data[$0.key] != $0.value }.map(\.key.text)
        let removed = old.data.keys.filter { data[$0] == nil }
        return implicit.filter(\.1).map(\.0) + own + removed.map(\.text)
    }

    /// Whether nothing differs that a change of the record can set.
    fileprivate func holdsTheSame(as old: User) -> Bool {
        status == old.status && isEmailVerified == old.isEmailVerified && namesChanged(from: old).isEmpty
    }
}

extension User {
    fileprivate func changed(by input: RecordInput, _ admin: Accounts.AdminChange, at now: Timestamp) throws -> User {
        // An address that nobody has shown to be theirs isn't verified, unless an admin says so in the same breath.
        let isSameEmail = input.email.map { $0.text == email } ?? true
        return User(
            id: id,
            collectionID: collectionID,
            kind: kind,
            status: admin.status ?? status,
            email: input.email?.text ?? email,
            username: input.username.map { $0?.text } ?? username,
            isEmailVerified: admin.isEmailVerified ?? (isSameEmail && isEmailVerified),
            // Whoever sends the address that they have, or another, doesn't wait for the former one any more.
            pendingEmail: input.email == nil ? pendingEmail : nil,
            isAnonymous: isAnonymous,
            isMFAEnabled: isMFAEnabled,
            data: try input.applied(to: data),
            createdAt: createdAt,
            updatedAt: now,
            lastLoginAt: lastLoginAt
        )
    }
}

extension Transaction {
    /// Throws `last_admin` when nobody but this one could administer the server.
    fileprivate func checkAnotherAdmin(than id: UserID, in admins: CollectionID) throws {
        guard try countUsers(in: admins, where: "status = 'active' AND id <> \(id)") > 0 else {
            throw AuthError(.lastAdmin)
        }
    }
}
