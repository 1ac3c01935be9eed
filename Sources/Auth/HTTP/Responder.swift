import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1
import OrderedCollections

/// Every request goes through here, in this order: canonical form, limits, route, collection, credential, guard,
/// feature, mail, body, handler; then the headers that every answer has, and the log.
struct Responder: HTTPResponder {
    typealias Context = AppContext

    let services: Services
    let table: RouteTable
    let authenticator: Authenticator
    let limiter: RateLimiter
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
            if let preflight = CORS.preflight(request, settings) {
                response = preflight
            } else {
                response = render(try await answer(request, context, settings, &trail))
            }
            CORS.allow(request, settings, &response)
        } catch let error as HTTPParserError {
            // Not HTTP any more: the server answers 400 and closes the connection.
            throw error
        } catch {
            let refusal = Self.refusal(for: error)
            trail.error = refusal
            response =
                trail.route?.isPage == true
                ? render(.refusalPage(refusal)) : Self.render(refusal, requestID: id)
            if let seconds = refusal.retryAfterSeconds { response.headers[.retryAfter] = String(seconds) }
            if let settings = try? await services.settingsOrLast() { CORS.allow(request, settings, &response) }
        }
        ResponseHeaders.complete(&response, requestID: id)
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
        var principal = try await authenticator.principal(authorization: request.headers[.authorization], for: route)
        trail.principal = principal
        try route.admit(principal, collection: collection, parameters: parameters, settings)
        if let feature = route.feature, !settings.isOn(feature) {
            throw AuthError.disabled(feature)
        }
        if route.needsMail {
            try MailTransport(settings, services.ownAddress).check(settings, services.ownAddress)
        }
        let body = route.takes == nil ? [:] : try await Body.read(request, for: route)
        if route.takes != nil && principal != nil {
            // Who sent the head long ago may have been signed out while the body came.
            principal = try await authenticator.principal(authorization: request.headers[.authorization], for: route)
            try route.admit(principal, collection: collection, parameters: parameters, settings)
        }
        let call = Call(
            services: services,
            route: route,
            time: services.clock.now(),
            parameters: parameters,
            query: query,
            client: trail.client,
            collection: collection,
            principal: principal,
            mfaCode: request.headers[.xMFACode],
            body: body
        )
        // What changes something is finished, whoever still listens.
        guard route.isList else { return try await route.handler(call) }
        return try await context.whileClientStays { try await route.handler(call) }
    }

    private func client(of request: Request, _ context: AppContext, _ settings: Settings) -> Client {
        let forwarded = settings.trustedProxies.isEmpty ? [] : request.headers[values: .xForwardedFor]
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
        case .data, .document: headers[.contentType] = "application/json"
        }
        if let seconds = answer.cacheSeconds { headers[.cacheControl] = "public, max-age=\(seconds)" }
        return Response(
            status: HTTPResponse.Status(code: answer.status),
            headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: answer.bytes))
        )
    }
}
