import Storage

/// Work on a whole collection that goes on in small steps, over restarts and changes of the node.
struct Job: Sendable {
    let id: Identifier<Job>
    let kind: Kind
    let collection: CollectionID
    /// What the kind needs to know.
    let payload: JSON
    /// Where the next step begins; nil at the start.
    let place: String?
    /// Records that are done.
    let done: Int

    /// Longer than the request that began a job drives it.
    static let requestSeconds = Collections.changeSecondsMax + 5

    enum Kind: String, Sendable, SQLConvertible {
        case deleteCollection = "collection.delete"
        case buildUniqueValues = "unique_values.build"
        case dropUniqueValues = "unique_values.drop"
    }
}

extension Transaction {
    func insertJob(_ job: Job, at now: Timestamp) throws {
        try execute(
            """
            INSERT INTO jobs (id, kind, collection_id, payload, place, done, created_at)
            VALUES (\(job.id), \(job.kind), \(job.collection), \(job.payload.serialized), \(job.place), \(job.done),
                \(now))
            """
        )
    }

    func job(_ id: Identifier<Job>) throws -> Job? {
        try one("SELECT * FROM jobs WHERE id = \(id)").map(Job.init)
    }

    /// The one that has waited longest, of those that no request drives.
    ///
    /// A request that makes a field unique has its job to itself for a while, since it must learn how that ends.
    func oldestJob(at now: Timestamp) throws -> Job? {
        let left = now.advanced(bySeconds: -Job.requestSeconds)
        return try one(
            """
            SELECT * FROM jobs
            WHERE kind = \(Job.Kind.deleteCollection) OR created_at < \(left) OR created_at > \(now)
            ORDER BY created_at, id LIMIT 1
            """
        ).map(Job.init)
    }

    func hasJobs(on collection: CollectionID) throws -> Bool {
        try one("SELECT id FROM jobs WHERE collection_id = \(collection) LIMIT 1") != nil
    }

    func advanceJob(_ job: Job, to place: String?, done: Int) throws {
        try execute("UPDATE jobs SET place = \(place), done = done + \(done) WHERE id = \(job.id)")
    }

    /// Lets a job go on as one of another kind.
    func turnJob(_ job: Job, into kind: Job.Kind, _ payload: JSON) throws {
        try execute(
            "UPDATE jobs SET kind = \(kind), payload = \(payload.serialized), place = NULL, done = 0 WHERE id = \(job.id)"
        )
    }

    func removeJob(_ id: Identifier<Job>) throws {
        try execute("DELETE FROM jobs WHERE id = \(id)")
    }

    func removeJobs(on collection: CollectionID) throws {
        try execute("DELETE FROM jobs WHERE collection_id = \(collection)")
    }
}

extension Job {
    fileprivate init(_ row: Row) throws {
        guard let payload = JSON(stored: try row.get("payload", as: String.self)) else {
            throw DatabaseError.unreadable("payload")
        }
        self.init(
            id: try row.get("id"),
            kind: try row.get("kind"),
            collection: try row.get("collection_id"),
            payload: payload,
            place: try row.get("place"),
            done: try row.get("done")
        )
    }
}
