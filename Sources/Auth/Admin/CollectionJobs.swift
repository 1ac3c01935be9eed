import OrderedCollections
import Storage

/// The steps of the jobs that go through a whole collection.
struct CollectionJobs: Sendable {
    /// Accounts removed by one batch; each takes some ten statements.
    static let deletedBatchMax = 4
    static let builtBatchMax = 16
    static let droppedBatchMax = 64

    let services: Services

    /// One batch, and with the last one what ends the job.
    func work(on job: Job, in tx: Transaction) throws -> Jobs.Outcome {
        switch job.kind {
        case .deleteCollection: try delete(job, in: tx)
        case .buildUniqueValues: try build(job, in: tx)
        case .dropUniqueValues: try drop(job, in: tx)
        }
    }

    private func delete(_ job: Job, in tx: Transaction) throws -> Jobs.Outcome {
        let users = try tx.oldestUsers(in: job.collection, count: Self.deletedBatchMax)
        let now = services.clock.now()
        for user in users { _ = try tx.deleteUser(user, at: now) }
        guard users.isEmpty else {
            try tx.advanceJob(job, to: nil, done: users.count)
            return .going
        }
        try tx.removeRetiredCollection(job.collection)
        try tx.removeJob(job.id)
        return .finished
    }

    private func build(_ job: Job, in tx: Transaction) throws -> Jobs.Outcome {
        guard let collection = try tx.collection(job.collection) else {
            try tx.removeJob(job.id)
            return .finished
        }
        let fields = collection.schema.own.filter { job.fields.contains($0.name) }
        let place = job.place.flatMap(UserPlace.init(text:)) ?? .start
        let users = try tx.users(in: job.collection, after: place, count: Self.builtBatchMax)
        for user in users {
            guard case .object(let data)? = JSON(stored: user.data) else { throw DatabaseError.unreadable("data") }
            for field in fields {
                guard let value = data[field.name] else { continue }
                let key = field.uniqueKey(of: value)
                guard try tx.claimUniqueValue(key, of: field.name, in: job.collection, for: user.place.id) else {
                    return try revert(job, collection, since: field.name, in: tx)
                }
            }
        }
        if let last = users.last, users.count == Self.builtBatchMax {
            try tx.advanceJob(job, to: last.place.text, done: users.count)
            return .going
        }
        try tx.updateCollection(collection.with(.ready, at: services.clock.now()))
        try tx.removeJob(job.id)
        return .finished
    }

    /// Takes the change back that made a field unique; what was noted of it is dropped by the same job.
    private func revert(_ job: Job, _ collection: Collection, since field: String, in tx: Transaction) throws
        -> Jobs.Outcome
    {
        guard let former = job.payload["former"], let fields = former["fields"], let options = former["options"],
            let name = former["name"]?.text
        else { throw DatabaseError.unreadable("payload") }
        // Another collection may have taken the former name since.
        let isNameKept = try name == collection.name || !tx.isCollectionNameFree(name)
        let old = Collection(
            id: collection.id,
            name: isNameKept ? collection.name : name,
            schema: try FieldSchema(json: fields),
            options: try collection.options.changed(by: options),
            createdAt: collection.createdAt,
            updatedAt: collection.updatedAt
        )
        try tx.updateCollection(old.with(.ready, at: services.clock.now()))
        try tx.turnJob(job, into: .dropUniqueValues, ["fields": .array(job.fields.map(JSON.string))])
        try tx.audit(
            .collectionUpdateReverted,
            by: .server,
            outcome: .failure,
            details: ["collection": .string(old.name), "field": .string(field)],
            services
        )
        return .reverted(field: field)
    }

    private func drop(_ job: Job, in tx: Transaction) throws -> Jobs.Outcome {
        for field in job.fields {
            let count = try tx.dropUniqueValues(of: field, in: job.collection, count: Self.droppedBatchMax)
            guard count == 0 else {
                try tx.advanceJob(job, to: nil, done: count)
                return .going
            }
        }
        if let next = job.payload["then"] {
            try tx.turnJob(job, into: .buildUniqueValues, next)
            return .going
        }
        try tx.removeJob(job.id)
        return .finished
    }
}

extension Job {
    /// The names of the fields that it is about.
    fileprivate var fields: [String] {
        guard case .array(let names)? = payload["fields"] else { return [] }
        return names.compactMap(\.text)
    }

    /// The removal of a collection's accounts.
    static func deletion(of collection: CollectionID, _ id: Identifier<Job>) -> Job {
        Job(id: id, kind: .deleteCollection, collection: collection, payload: [:], place: nil, done: 0)
    }

    /// The job that brings the unique values of a collection in line with its new fields; nil when there is nothing to do.
    static func uniqueValues(from old: Collection, to new: Collection, _ id: Identifier<Job>) -> Job? {
        let former = old.schema.own.filter(\.isUnique)
        let wanted = new.schema.own.filter(\.isUnique)
        func isKept(_ field: Field) -> Bool { former.contains { $0.name == field.name && $0.type == field.type } }
        let built = wanted.filter { !isKept($0) }.map(\.name)
        let dropped = former.filter { field in
            !wanted.contains { $0.name == field.name && $0.type == field.type }
        }.map(\.name)
        func list(_ names: [String]) -> JSON { .array(names.map(JSON.string)) }
        let build: JSON = [
            "fields": list(built),
            "former": ["name": .string(old.name), "fields": old.schema.json, "options": old.options.json],
        ]
        let drop: JSON = built.isEmpty ? ["fields": list(dropped)] : ["fields": list(dropped), "then": build]
        guard !built.isEmpty || !dropped.isEmpty else { return nil }
        return Job(
            id: id,
            kind: dropped.isEmpty ? .buildUniqueValues : .dropUniqueValues,
            collection: old.id,
            payload: dropped.isEmpty ? build : drop,
            place: nil,
            done: 0
        )
    }

    /// Whether it may take the change back.
    var builds: Bool { kind == .buildUniqueValues || payload["then"] != nil }
}

extension Collection {
    /// The same in another state, later than it was before: whoever looked at it then must notice.
    func with(_ state: State, at now: Timestamp) -> Collection {
        Collection(
            id: id,
            name: name,
            schema: schema,
            options: options,
            createdAt: createdAt,
            updatedAt: max(now, Timestamp(milliseconds: updatedAt.milliseconds + 1)),
            state: state
        )
    }
}

extension UserPlace {
    fileprivate init?(text: String) {
        let parts = text.split(separator: ":", maxSplits: 1)
        guard parts.count == 2, let milliseconds = Int64(parts[0]) else { return nil }
        self.init(createdAt: Timestamp(milliseconds: milliseconds), id: String(parts[1]))
    }

    fileprivate var text: String { "\(createdAt.milliseconds):\(id)" }
}
