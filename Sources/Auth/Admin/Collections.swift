import OrderedCollections
import Storage

/// The collections: what admins make of them.
struct Collections: Sendable {
    static let collectionsMax = 500

    let services: Services

    /// Throws `not_found`.
    func find(_ nameOrID: String) async throws -> Collection {
        guard let collection = try await services.collections()[nameOrID] else { throw AuthError(.notFound) }
        return collection
    }

    /// Throws `validation_failed`, `name_taken`.
    func create(_ body: OrderedDictionary<String, JSON>, by actor: Actor) async throws -> Collection {
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
    /// A field that becomes unique must not hold a value twice: `value_taken`. Records that a new rule would refuse
    /// stay as they are until they are written.
    ///
    /// Throws `not_found`, `validation_failed`, `name_taken`, `built_in`.
    func change(_ nameOrID: String, to body: OrderedDictionary<String, JSON>, by actor: Actor) async throws
        -> Collection
    {
        let id = try await find(nameOrID).id
        let now = services.clock.now()
        return try await services.write(as: actor) { [services] tx in
            guard let old = try tx.collections().first(where: { $0.id == id }) else { throw AuthError(.notFound) }
            let collection = try old.changed(by: body, isNew: false, at: now)
            if old.isAdmins { try collection.checkAdmins(against: old) }
            // What changes nothing writes nothing.
            guard !collection.holdsTheSame(as: old) else { return old }
            try tx.updateCollection(collection)
            if collection.schema != old.schema { try tx.rebuildUniqueValues(of: collection) }
            try tx.audit(.collectionUpdated, by: actor, details: ["collection": .string(collection.name)], services)
            return collection
        }
    }

    /// Removes a collection with all its accounts.
    ///
    /// Throws `not_found`, `built_in`.
    func delete(_ nameOrID: String, by actor: Actor) async throws {
        let collection = try await find(nameOrID)
        guard !collection.isAdmins else { throw AuthError(.builtIn) }
        let now = services.clock.now()
        try await services.write(as: actor) { [services] tx in
            guard try tx.deleteCollection(collection.id, at: now) else { throw AuthError(.notFound) }
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
    fileprivate func changed(by body: OrderedDictionary<String, JSON>, isNew: Bool, at now: Timestamp) throws
        -> Collection
    {
        var problems: [String: String] = [:]
        var (name, schema, options) = (name, schema, options)
        if isNew && body["name"] == nil { problems["name"] = "is required" }
        for (key, value) in body {
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
                case "id", "built_in", "created_at", "updated_at":
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
