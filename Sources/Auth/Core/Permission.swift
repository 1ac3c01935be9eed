/// What groups can permit, and what the scopes of an API key narrow that to.
enum Permission: String, CaseIterable, Sendable {
    case usersRead = "users:read"
    case usersReadMetadata = "users:read_metadata"
    case usersCreate = "users:create"
    case usersWrite = "users:write"
    case secretsWrite = "secrets:write"
    case emailSend = "email:send"
    case auditRead = "audit:read"
}
