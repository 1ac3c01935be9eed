import HTTPTypes
import Hummingbird
import NIOCore
import OrderedCollections

/// Every request goes through here, in this order: canonical form, limits, route, collection, credential, guard,
/// feature, mail, body, handler; then the headers that every answer has, and the log.
struct Responder: HTTPResponder {
    typealias Context = AppContext

    let services: Services
    let table: RouteTable
    let authenticator: Authenticator
    let limiter: RateLimiter
    let clients: ClientRequests
    let requestIDs: RequestIDs
    let log: RequestLog

    /// What is known about a request by its end, for the log.
    private struct Trail {
        var route: Route?
        var path = ""
        var client = Client(address: "", userAgent: nil)
        var principal: Principal?
        var error: AuthError?
    }

    func respond(to request: Request, context: AppContext) async throws -> Response {
        let start = ContinuousClock.now
        let id = requestIDs.next()
        var trail = Trail()
        var response: Response
        do {
            let settings =
                request.head.path == HealthRoutes.healthPath
                ? services.lastSettings.value : try await services.settingsOrLast()
            trail.client = client(of: request, context, settings)
            let proxied =
                trail.client.address == context.socketAddress ? nil : AddressRange.limitKey(trail.client.address)
            guard proxied.map(clients.begin) != false else {
                throw AuthError(.rateLimited, "You have too many requests under way.", retryAfterSeconds: 1)
            }
            defer { if let proxied { clients.end(proxied) } }
            if CORS.isPreflight(request) {
                try limit(trail.client, as: .probe, settings)
                response = CORS.preflight()
            } else {
                response = render(try await answer(request, context, settings, &trail))
            }
            CORS.allow(request, settings, &response)
        } catch {
            let refusal = Self.refusal(for: error)
            trail.error = refusal
            response =
                trail.route?.isPage == true
                ? render(.refusalPage(refusal)) : Self.render(refusal, requestID: id)
            if let seconds = refusal.retryAfterSeconds { response.headers[.retryAfter] = String(seconds) }
            if let settings = try? await services.settingsOrLast() { CORS.allow(request, settings, &response) }
        }
        ResponseHeaders.complete(&response.headers, requestID: id)
        if request.method == .head {
            // The length stays what GET would send (RFC 9110 §9.3.2).
            let length = response.body.contentLength
            response.body = ResponseBody()
            response.headers[.contentLength] = length.map(String.init)
        }
        log.note(
            RequestLog.Entry(
                id: id,
                method: request.method,
                route: trail.route?.path ?? "-",
                path: trail.route?.isPathPrivate == true ? trail.route?.path ?? "" : trail.path,
                status: response.status.code,
                duration: ContinuousClock.now - start,
                client: trail.client,
                principal: trail.principal,
                error: trail.error
            ),
            at: services.clock.now()
        )
        return response
    }

    private func answer(_ request: Request, _ context: AppContext, _ settings: Settings, _ trail: inout Trail)
        async throws -> Answer
    {
        let canonical = try CanonicalRequest(target: request.head.path ?? "/")
        trail.path = canonical.path
        let match = table.match(request.method, canonical.segments)
        var label = RateRules.Label.general
        if case .found(let route, _) = match {
            label = route.limit
            trail.route = route
        }
        // A request that brings a code can be a guess, on whatever route.
        if request.headers[.xMFACode] != nil { label = .auth }
        let query = try canonical.query()
        try limit(trail.client, as: label, settings)
        let (route, parameters) = try found(match)
        let collection = try await collection(parameters["col"])
        var principal = try await authenticator.principal(of: request, for: route)
        trail.principal = principal
        try route.admit(principal, collection: collection, parameters: parameters, settings)
        if let feature = route.feature, !settings.isOn(feature) {
            throw AuthError.disabled(feature)
        }
        if route.needsMail {
            try MailTransport(settings, services.ownAddress).check(settings, services.ownAddress)
        }
        var call = Call(
            services: services,
            route: route,
            time: services.clock.now(),
            parameters: parameters,
            query: query,
            client: trail.client,
            collection: collection,
            principal: principal,
            mfaCode: try request.text(of: .xMFACode)
        )
        if route.isHashing { try services.hasher.threads.checkRoom() }
        guard route.takes != nil else {
            // What changes something is finished, whoever still listens.
            guard route.isList else { return try await route.handler(call) }
            return try await context.whileClientStays { [call] in try await route.handler(call) }
        }
        let body = try await Body(of: request, for: route)
        if principal != nil {
            // The caller may have been signed out while the body came.
            principal = try await authenticator.principal(of: request, for: route)
            try route.admit(principal, collection: collection, parameters: parameters, settings)
        }
        call.bodyCame(at: services.clock.now(), from: principal)
        guard body.isLarge else { return try await route.handler(call.with(body.members())) }
        return try await withTaskExecutorPreference(Self.largeBodies) { [call] in
            try await route.handler(call.with(body.members()))
        }
    }

    private static let largeBodies = LargeBodies()

    private func client(of request: Request, _ context: AppContext, _ settings: Settings) -> Client {
        let forwarded =
            settings.trustedProxies.isEmpty
            ? [] : request.headers[values: .xForwardedFor].map { TextGate.text($0, as: .headerValue) ?? "" }
        let address = ClientAddress.resolve(
            socket: context.socketAddress,
            forwardedFor: forwarded,
            trusted: settings.trustedProxies
        )
        return Client(address: address, userAgent: request.headers[.userAgent])
    }

    private func limit(_ client: Client, as label: RateRules.Label, _ settings: Settings) throws {
        guard let rule = settings.rateRules?.rule(for: label) else { return }
        if let seconds = limiter.admit(client.address, as: label, by: rule, at: services.clock.now()) {
            throw AuthError(.rateLimited, retryAfterSeconds: seconds)
        }
    }

    private func found(_ match: RouteTable.Match) throws -> (Route, [String: String]) {
        switch match {
        case .found(let route, let parameters): return (route, parameters)
        case .wrongMethod(let allowed):
            throw AuthError(.methodNotAllowed, details: ["allow": allowed.map(\.rawValue).joined(separator: ", ")])
        case .unknown: throw AuthError(.notFound, "There is no such route.")
        }
    }

    private func collection(_ name: String?) async throws -> Collection? {
        guard let name else { return nil }
        guard let collection = try await services.collections()[name] else {
            throw AuthError(.notFound, "There is no such collection.")
        }
        return collection
    }

    private func render(_ answer: Answer) -> Response {
        var headers = HTTPFields()
        switch answer.content {
        case .page:
            headers[.contentType] = "text/html; charset=utf-8"
            headers[.contentSecurityPolicy] = Page.contentSecurityPolicy
        case .redirect(let url): headers[.location] = url
        case .data, .document, .constant: headers[.contentType] = "application/json"
        }
        if let seconds = answer.cacheSeconds { headers[.cacheControl] = "public, max-age=\(seconds)" }
        return Response(
            status: HTTPResponse.Status(code: answer.status),
            headers: headers,
            body: ResponseBody(byteBuffer: answer.buffer)
        )
    }
}

extension Authenticator {
    /// Throws `invalid_token` for a header that is looked at and isn't ASCII.
    fileprivate func principal(of request: Request, for route: Route) async throws -> Principal? {
        guard route.admits != .open else { return nil }
        let header = Result { try request.text(of: .authorization, else: .invalidToken) }
        return try await principal(authorization: header, for: route)
    }
}
