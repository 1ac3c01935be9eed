import OrderedCollections

/// The shape of a JSON value, as far as the OpenAPI document tells it.
indirect enum Shape: Sendable {
    case any
    case text
    case integer
    case flag
    case time
    /// An account with its collection's own fields.
    case record
    case list(Shape)
    case map(Shape)
    case object([Member], others: Shape? = nil)

    /// JSON Schema (2020-12, as OpenAPI 3.1 uses it).
    var schema: JSON {
        switch self {
        case .any: [:]
        case .text: ["type": "string"]
        case .integer: ["type": "integer"]
        case .flag: ["type": "boolean"]
        case .time: ["type": "string", "format": "date-time"]
        case .record: ["$ref": "#/components/schemas/Record"]
        case .list(let element): ["type": "array", "items": element.schema]
        case .map(let value): ["type": "object", "additionalProperties": value.schema]
        case .object(let members, let others): Self.object(members, others)
        }
    }

    private static func object(_ members: [Member], _ others: Shape?) -> JSON {
        var schema: JSON.Members = ["type": "object"]
        schema["properties"] = .object(
            OrderedDictionary(uniqueKeysWithValues: members.map { (MemberName($0.name), $0.shape.schema) })
        )
        let required = members.filter(\.isRequired).map { JSON.string($0.name) }
        if !required.isEmpty { schema["required"] = .array(required) }
        if let others { schema["additionalProperties"] = others.schema }
        return .object(schema)
    }
}

/// A named part of an object or a query.
struct Member: Sendable {
    let name: String
    let shape: Shape
    let isRequired: Bool

    static func required(_ name: String, _ shape: Shape) -> Member {
        Member(name: name, shape: shape, isRequired: true)
    }
    static func optional(_ name: String, _ shape: Shape) -> Member {
        Member(name: name, shape: shape, isRequired: false)
    }
}
