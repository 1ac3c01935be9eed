import OrderedCollections
import Storage

/// The collections: what admins make of them.
struct Collections: Sendable {
    static let collectionsMax = 500
    /// A change that goes through all accounts is answered after so long, done or not.
    static let changeSecondsMax = 15

    let services: Services
    let jobs: Jobs

    /// Throws `not_found`.
    func find(_ nameOrID: String) async throws -> Collection {
        guard let collection = try await services.collections()[nameOrID] else { throw AuthError(.notFound) }
        return collection
    }

    /// Throws `validation_failed`, `name_taken`.
    func create(_ body: JSON.Members, by actor: Actor) async throws -> Collection {
        let now = services.clock.now()
        let blank = Collection(
            id: CollectionID(at: now, random: services.random),
            name: "",
            schema: .empty,
            options: Collection.Options(),
            createdAt: now,
            updatedAt: now
        )
        let collection = try blank.changed(by: body, isNew: true, at: now)
        try await services.write(as: actor) { [services] tx in
            guard try tx.collections().count < Self.collectionsMax else {
                throw AuthError.validation(["name": "can't be added: there are \(Self.collectionsMax) collections"])
            }
            try tx.insertCollection(collection)
            try tx.audit(.collectionCreated, by: actor, details: ["collection": .string(collection.name)], services)
        }
        return collection
    }

    /// Changes what is given.
    ///
    /// A field that becomes unique takes no value twice from then on, and the values that are there already are compared in
    /// small steps. When two are the same, the whole change is taken back: `value_taken`. In a collection that is too large to be
    /// gone through in ``changeSecondsMax``, the answer has the state `building`, and the server goes on.
    ///
    /// Records that a new rule would refuse stay as they are until they are written.
    ///
    /// Throws `not_found`, `validation_failed`, `name_taken`, `built_in`, and `unavailable` while an earlier change is being
    /// built.
    func change(_ nameOrID: String, to body: JSON.Members, by actor: Actor) async throws
        -> Collection
    {
        let id = try await find(nameOrID).id
        let now = services.clock.now()
        let jobID = Identifier<Job>(at: now, random: services.random)
        let (changed, job) = try await services.write(as: actor) { [services] tx -> (Collection, Job?) in
            guard let old = try tx.collection(id) else { throw AuthError(.notFound) }
            let wanted = try old.changed(by: body, isNew: false, at: now)
            if old.isAdmins { try wanted.checkAdmins(against: old) }
            // A change that changes nothing writes nothing.
            guard !wanted.holdsTheSame(as: old) else { return (old, nil) }
            guard try !tx.hasJobs(on: id) else {
                throw AuthError(
                    .unavailable,
                    "The collection's last change is still being built. Try again.",
                    retryAfterSeconds: 1
                )
            }
            let job = Job.uniqueValues(from: old, to: wanted, jobID)
            let collection = wanted.with(job?.builds == true ? .building : .ready, at: now)
            try tx.updateCollection(collection)
            if let job { try tx.insertJob(job, at: now) }
            try tx.audit(.collectionUpdated, by: actor, details: ["collection": .string(collection.name)], services)
            return (collection, job)
        }
        guard let job else { return changed }
        let outcome = try await jobs.drive(job.id, forSeconds: Self.changeSecondsMax)
        if case .reverted(let field) = outcome {
            try await jobs.drive(job.id, forSeconds: Self.changeSecondsMax)
            throw AuthError(.valueTaken, details: [field: "is already taken"])
        }
        return try await find(id.rawValue)
    }

    /// Removes a collection with all its accounts: it is gone for everybody at once, and the accounts are removed in small
    /// steps in the background.
    ///
    /// Throws `not_found`, `built_in`.
    func delete(_ nameOrID: String, by actor: Actor) async throws {
        let collection = try await find(nameOrID)
        guard !collection.isAdmins else { throw AuthError(.builtIn) }
        let now = services.clock.now()
        let jobID = Identifier<Job>(at: now, random: services.random)
        try await services.write(as: actor) { [services] tx in
            guard try tx.retireCollection(collection.id, at: now) else { throw AuthError(.notFound) }
            try tx.removeJobs(on: collection.id)
            try tx.insertJob(.deletion(of: collection.id, jobID), at: now)
            try tx.audit(.collectionDeleted, by: actor, details: ["collection": .string(collection.name)], services)
        }
    }
}

extension Collection {
    /// Throws `built_in` for a change that could keep the operator from making an admin on the command line, by an
    /// email and a password alone.
    fileprivate func checkAdmins(against old: Collection) throws {
        guard name == old.name, options == old.options, !schema.fields.contains(where: \.isRequired),
            schema[FieldSchema.email] == nil
        else {
            throw AuthError(
                .builtIn,
                "\(Self.adminsName) keeps its name, options and email rules, and can't have required fields."
            )
        }
    }

    fileprivate func holdsTheSame(as old: Collection) -> Bool {
        name == old.name && schema == old.schema && options == old.options
    }

    /// Every problem at once.
    fileprivate func changed(by body: JSON.Members, isNew: Bool, at now: Timestamp) throws
        -> Collection
    {
        var problems: [String: String] = [:]
        var (name, schema, options) = (name, schema, options)
        if isNew && body["name"] == nil { problems["name"] = "is required" }
        for (member, value) in body {
            let key = member.text
            do {
                switch key {
                case "name":
                    // The built-in name begins with _, which no other may.
                    guard let text = value.text, Collection.isName(text) || !isNew && text == name else {
                        throw FieldSchema.Invalid(
                            key,
                            "must be 1 to 63 letters, digits or _, beginning with a letter, and not a word of the API"
                        )
                    }
                    name = text
                case "type": if value != "auth" { throw FieldSchema.Invalid(key, "must be auth") }
                case "fields": schema = try FieldSchema(json: value)
                case "options": options = try options.changed(by: value)
                // As read: a client may send back what it got.
                case "id", "built_in", "state", "created_at", "updated_at":
                    if isNew { throw FieldSchema.Invalid(key, "can't be set") }
                default: throw FieldSchema.Invalid(key, "is not a member of a collection")
                }
            } catch let invalid as FieldSchema.Invalid {
                problems.merge(invalid.details) { first, _ in first }
            }
        }
        guard problems.isEmpty else { throw AuthError.validation(problems) }
        return Collection(id: id, name: name, schema: schema, options: options, createdAt: createdAt, updatedAt: now)
    }
}
