import OrderedCollections

/// What somebody sends to make or change a record, validated against its collection: the one pipeline of `/register`,
/// the admin's routes and `PATCH /api/records`.
struct RecordInput: Sendable {
    static let dataBytesMax = 65_536

    /// Nil when not sent; an inner nil clears it.
    private(set) var email: EmailAddress?
    private(set) var username: Username??
    /// Keys to set; null removes one.
    private(set) var data: JSON.Members = [:]

    enum Purpose: Sendable {
        /// Required fields must be there.
        case create(User.Kind)
        /// Only what is sent is checked.
        case change
    }

    /// Throws `validation_failed` with a message a field.
    ///
    /// `handled` are keys that the route deals with itself.
    init(
        _ body: JSON.Members,
        for purpose: Purpose,
        in collection: Collection,
        handled: Set<String> = []
    ) throws {
        var problems: [String: String] = [:]
        for (name, value) in body where !handled.contains(name.text) {
            let key = name.text
            if User.reservedKeys.contains(key) {
                problems[key] = "can't be set"
            } else if value.containsNUL || key.utf8.contains(0) {
                problems[key] = "must not contain NUL characters"
            } else if key == FieldSchema.email {
                problems[key] = setEmail(value, collection.schema[FieldSchema.email])
            } else if key == FieldSchema.username {
                problems[key] = setUsername(value, collection.schema[FieldSchema.username])
            } else {
                problems[key] = set(key, to: value, in: collection)
            }
        }
        if case .create(let kind) = purpose {
            for name in Self.requiredNames(kind, collection.schema) where problems[name] == nil && !has(name) {
                problems[name] = "is required"
            }
        }
        if problems.isEmpty, JSON.object(data).serialized.utf8.count > Self.dataBytesMax {
            problems["data"] = "must be at most \(Self.dataBytesMax) bytes in all"
        }
        guard problems.isEmpty else { throw AuthError.validation(problems) }
    }

    /// The same changes but for the email.
    var withoutEmail: RecordInput {
        var input = self
        input.email = nil
        return input
    }

    /// The record's own fields with these changes.
    ///
    /// Throws `validation_failed` when they have become too large together.
    func applied(to existing: JSON.Members) throws -> JSON.Members {
        var merged = existing
        for (key, value) in data { merged[key] = value == .null ? nil : value }
        guard JSON.object(merged).serialized.utf8.count <= Self.dataBytesMax else {
            throw AuthError.validation(["data": "must be at most \(Self.dataBytesMax) bytes in all"])
        }
        return merged
    }

    private static func requiredNames(_ kind: User.Kind, _ schema: FieldSchema) -> [String] {
        let required = schema.fields.filter { $0.isRequired && $0.name != FieldSchema.email }.map(\.name)
        return kind == .human ? [FieldSchema.email] + required : required
    }

    private func has(_ name: String) -> Bool {
        switch name {
        case FieldSchema.email: email != nil
        case FieldSchema.username: username != nil
        default: data[name] != nil && data[name] != .null
        }
    }

    private mutating func setEmail(_ value: JSON, _ rules: Field?) -> String? {
        guard value != .null, value != "" else { return "is required" }
        guard let text = value.text else { return "must be a text" }
        if let problem = rules?.problem(with: value) { return problem }
        guard let address = EmailAddress(parsing: text) else { return "must be a valid email address" }
        guard !address.isGuests else { return "must be a real address" }
        email = address
        return nil
    }

    private mutating func setUsername(_ value: JSON, _ rules: Field?) -> String? {
        if value == .null {
            username = .some(nil)
            return rules?.isRequired == true ? "is required" : nil
        }
        guard let text = value.text else { return "must be a text" }
        guard let name = Username(parsing: text) else {
            return "must be 1 to \(Username.countMax) letters, digits, dots, hyphens or underscores"
        }
        username = name
        return rules?.problem(with: value)
    }

    private mutating func set(_ key: String, to value: JSON, in collection: Collection) -> String? {
        guard let field = collection.schema[key] else {
            guard collection.options.additionalFields else { return "is not a field of \(collection.name)" }
            guard Field.isName(key) else {
                return "must be named by 1 to 64 letters, digits or _, not beginning with a digit"
            }
            data[key] = value
            return nil
        }
        if value == .null || (value == "" && field.isRequired) {
            data[key] = .null
            return field.isRequired ? "is required" : nil
        }
        data[key] = value
        return field.problem(with: value)
    }
}

extension User {
    /// A new one, with what was sent.
    init(
        _ id: UserID,
        _ input: RecordInput,
        kind: Kind = .human,
        status: Status = .active,
        isEmailVerified: Bool,
        in collection: Collection,
        at now: Timestamp
    ) throws {
        self.init(
            id: id,
            collectionID: collection.id,
            kind: kind,
            status: status,
            email: input.email?.text,
            username: input.username.flatMap { $0?.text },
            isEmailVerified: isEmailVerified,
            isAnonymous: false,
            data: try input.applied(to: [:]),
            createdAt: now,
            updatedAt: now
        )
    }
}
