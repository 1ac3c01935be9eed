import HTTPTypes
import OrderedCollections

/// The OpenAPI 3.1 document, made of the routes themselves.
struct OpenAPI: Sendable {
    let routes: [Route]

    var document: JSON {
        var paths: JSON.Members = [:]
        for route in routes {
            let path = Self.template(route.path)
            let method = MemberName(route.method.rawValue.lowercased())
            paths[path] = (paths[path] ?? [:]).merging([method: operation(route)])
        }
        return [
            "openapi": "3.1.0",
            "info": [
                "title": "Latchkey", "version": .string(Version.text),
                "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
            ],
            "servers": [["url": "/"]],
            "security": .array(Self.credentials),
            "paths": .object(paths),
            "components": Self.components,
        ]
    }

    private static let credentials: [JSON] = [["bearer": []], ["basic": []]]

    /// `/a/:b` as `/a/{b}`.
    static func template(_ path: String) -> String {
        path.split(separator: "/", omittingEmptySubsequences: false)
            .map { $0.hasPrefix(":") ? "{\($0.dropFirst())}" : String($0) }.joined(separator: "/")
    }

    private func operation(_ route: Route) -> JSON {
        var operation: JSON.Members = [
            "summary": .string(route.summary),
            "operationId": .string(Self.name(route)),
            "tags": [.string(route.path.hasPrefix("/api/admin") || route.admits == .admin ? "admin" : "accounts")],
            "x-guard": .string(route.admits.rawValue),
        ]
        switch route.admits {
        case .open: operation["security"] = []
        case .openToAll: operation["security"] = .array([[:]] + Self.credentials)
        case .signedIn, .member, .ownerOrAdmin, .selfOrAdmin, .admin: break
        }
        let parameters = parameters(route)
        if !parameters.isEmpty { operation["parameters"] = .array(parameters) }
        if let body = route.takes {
            operation["requestBody"] = [
                "required": .bool(!route.isBodyOptional), "content": ["application/json": ["schema": body.schema]],
            ]
        }
        operation["responses"] = [
            "200": [
                "description": "Done",
                "content": [
                    "application/json": ["schema": ["type": "object", "properties": ["data": route.gives.schema]]]
                ],
            ],
            "default": ["$ref": "#/components/responses/Refusal"],
        ]
        return .object(operation)
    }

    private func parameters(_ route: Route) -> [JSON] {
        let inPath: [JSON] = route.path.split(separator: "/").filter { $0.hasPrefix(":") }.map { segment in
            [
                "name": .string(String(segment.dropFirst())), "in": "path", "required": true,
                "schema": ["type": "string"],
            ]
        }
        let inQuery: [JSON] = route.query.map { member in
            [
                "name": .string(member.name), "in": "query", "required": .bool(member.isRequired),
                "schema": member.shape.schema,
            ]
        }
        return inPath + inQuery
    }

    private static func name(_ route: Route) -> String {
        let words = route.path.split(separator: "/").dropFirst().map {
            $0.hasPrefix(":") ? "by_\($0.dropFirst())" : String($0)
        }
        return ([route.method.rawValue.lowercased()] + words).joined(separator: "_").replacing("-", with: "_")
            .replacing(".", with: "_")
    }

    private static let components: JSON = [
        "securitySchemes": [
            "bearer": ["type": "http", "scheme": "bearer", "bearerFormat": "JWT"],
            "basic": ["type": "http", "scheme": "basic", "description": "The token as user name, an empty password"],
        ],
        "schemas": [
            "Record": Shape.object(
                [
                    .required("id", .text), .optional("collection", .text), .optional("email", .any),
                    .optional("username", .any),
                    .optional("email_verified", .flag), .optional("anonymous", .flag), .optional("created_at", .time),
                    .optional("updated_at", .time),
                ],
                others: .any
            ).schema,
            "Refusal": Shape.object([
                .required("error", .text), .required("code", .text), .optional("details", .map(.text)),
                .required("request_id", .text),
            ]).schema,
        ],
        "responses": [
            "Refusal": [
                "description": "Refused; `code` is one of docs/errors.md",
                "content": ["application/json": ["schema": ["$ref": "#/components/schemas/Refusal"]]],
            ]
        ],
    ]
}

extension JSON {
    init(_ texts: [String: String]) {
        self = .object(
            Members(
                uniqueKeysWithValues: texts.sorted { $0.key < $1.key }.map { (MemberName($0.key), .string($0.value)) }
            )
        )
    }
}
