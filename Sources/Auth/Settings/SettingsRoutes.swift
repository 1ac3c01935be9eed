import HTTPTypes
import OrderedCollections

/// `GET` and `PATCH /api/admin/settings`.
struct SettingsRoutes: Sendable {
    let changes: SettingsChanges

    var routes: [Route] {
        [
            Route(.get, "/api/admin/settings", .admin, "The settings in force", gives: .map(.text)) { _ in
                .data(try await data())
            },
            Route(
                .patch,
                "/api/admin/settings",
                .admin,
                "Change settings; null goes back to the default",
                // By who sets where mails go, every account can be had by a reset.
                isForPersons: true,
                takes: .object([], others: .text),
                isFormTypeAccepted: true,
                gives: .map(.text),
                use: patch
            ),
        ]
    }

    private func data() async throws -> JSON {
        let all = try await changes.all()
        return .object(JSON.Members(uniqueKeysWithValues: all.map { (MemberName($0.key), .string($0.value)) }))
    }

    @Sendable private func patch(_ call: Call) async throws -> Answer {
        var values: [String: String?] = [:]
        var problems: [String: String] = [:]
        for (name, value) in call.body {
            let key = name.text
            switch value {
            case .string(let text): values[key] = text
            case .null: values[key] = .some(nil)
            case .bool, .integer, .number, .array, .object: problems[key] = "must be a text, such as \"1\""
            }
        }
        guard problems.isEmpty else { throw AuthError.validation(problems) }
        let warnings = try await changes.set(values, by: call.actor)
        var answer = Answer.data(try await data())
        if !warnings.isEmpty { answer.extra["warnings"] = JSON(warnings) }
        return answer
    }
}
