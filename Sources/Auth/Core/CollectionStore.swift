import Storage

extension Transaction {
    /// By name; the built-in `_admins` first.
    ///
    /// Without those that are being removed.
    func collections() throws -> [Collection] {
        try all("SELECT * FROM collections WHERE state <> 'deleting' ORDER BY name").map(Collection.init)
    }

    /// Nil for one that is being removed, too.
    func collection(_ id: CollectionID) throws -> Collection? {
        try one("SELECT * FROM collections WHERE id = \(id) AND state <> 'deleting'").map(Collection.init)
    }

    /// Throws `not_found` or `unavailable` when the collection was removed or changed since it was looked at: what was
    /// validated by its old rules must not be written under new ones.
    func checkUnchanged(_ collection: Collection) throws {
        guard
            let row = try one("SELECT updated_at FROM collections WHERE id = \(collection.id) AND state <> 'deleting'")
        else {
            throw AuthError(.notFound, "There is no such collection.")
        }
        guard try row.get("updated_at") == collection.updatedAt else {
            throw AuthError(.unavailable, "The collection has just been changed. Try again.", retryAfterSeconds: 1)
        }
    }

    /// Throws `name_taken`.
    func insertCollection(_ collection: Collection) throws {
        announce(Topic.collections)
        try refusingTakenName {
            try execute(
                """
                INSERT INTO collections (id, name, fields, options, created_at, updated_at)
                VALUES (\(collection.id), \(collection.name), \(collection.schema.json.serialized),
                    \(collection.options.json.serialized), \(collection.createdAt), \(collection.updatedAt))
                """
            )
        }
    }

    /// Throws `name_taken`.
    func updateCollection(_ collection: Collection) throws {
        announce(Topic.collections)
        try refusingTakenName {
            try execute(
                """
                UPDATE collections SET name = \(collection.name), fields = \(collection.schema.json.serialized),
                    options = \(collection.options.json.serialized), state = \(collection.state),
                    updated_at = \(collection.updatedAt)
                WHERE id = \(collection.id)
                """
            )
        }
    }

    /// Hides a collection and frees its name; false when there is none.
    func retireCollection(_ id: CollectionID, at now: Timestamp) throws -> Bool {
        announce(Topic.collections)
        return try execute(
            """
            UPDATE collections SET state = 'deleting', name = \("~\(id.rawValue)"), updated_at = \(now)
            WHERE id = \(id) AND state <> 'deleting'
            """
        ) == 1
    }

    /// Removes a collection that has no accounts any more.
    func removeRetiredCollection(_ id: CollectionID) throws {
        try execute("DELETE FROM collections WHERE id = \(id) AND state = 'deleting'")
    }

    /// Whether another collection could have this name.
    func isCollectionNameFree(_ name: String) throws -> Bool {
        try one("SELECT id FROM collections WHERE name = \(name)") == nil
    }

    private func refusingTakenName(_ write: () throws -> Void) throws {
        do {
            try write()
        } catch DatabaseError.unique {
            throw AuthError(.nameTaken, details: ["name": "is already taken"])
        }
    }
}

extension Collection {
    init(_ row: Row) throws {
        guard let fields = JSON(stored: try row.get("fields", as: String.self)),
            let options = JSON(stored: try row.get("options", as: String.self))
        else { throw DatabaseError.unreadable("fields") }
        self.init(
            id: try row.get("id"),
            name: try row.get("name"),
            schema: try FieldSchema(json: fields, isStored: true),
            options: try Options().changed(by: options),
            createdAt: try row.get("created_at"),
            updatedAt: try row.get("updated_at"),
            state: try row.get("state")
        )
    }
}

/// Every collection, as the routes look them up.
struct CollectionIndex: Sendable {
    let all: [Collection]
    private let byID: [CollectionID: Collection]
    private let byName: [String: Collection]

    init(_ collections: [Collection]) {
        all = collections
        byID = Dictionary(uniqueKeysWithValues: collections.map { ($0.id, $0) })
        byName = Dictionary(uniqueKeysWithValues: collections.map { ($0.name, $0) })
    }

    subscript(id id: CollectionID) -> Collection? { byID[id] }

    /// By name or id.
    subscript(nameOrID: String) -> Collection? {
        byName[nameOrID] ?? CollectionID(rawValue: nameOrID).flatMap { byID[$0] }
    }
}
