import Logging
import OrderedCollections

/// What a provider does wrong; the text is for the log and holds nothing of its answer.
enum OAuthFault: Error, CustomStringConvertible {
    /// It takes the code or the client for bad.
    case refused(String)
    /// It gives no usable answer.
    case failed(String)
    case invalidIDToken(String)

    var description: String {
        switch self {
        case .refused(let text), .failed(let text), .invalidIDToken(let text): text
        }
    }
}

/// Asks a provider who somebody is: the authorization code for tokens, the tokens for a profile (RFC 6749 §4.1, OpenID Connect
/// Core §3.1).
struct OAuthExchange: Sendable {
    let services: Services
    let documents: ProviderDocuments
    let appleSecrets = AppleSecrets()

    /// What an application got from the provider, by way of the browser.
    struct Code: Sendable {
        let text: Secret<String>
        /// As it was in the authorization request.
        let redirectURI: String
        /// PKCE's (RFC 7636).
        let verifier: Secret<String>?
        /// Nil when none was asked for, or nobody knows which.
        let nonce: String?
    }

    /// The client with the URLs that its issuer publishes, where they are not set.
    ///
    /// Throws `provider_failed`.
    func discovered(_ client: OAuthClient) async throws -> OAuthProvider {
        var provider = client.provider
        guard provider.isDiscovered, let issuer = provider.issuers.first else { return provider }
        guard [provider.authorizationURL, provider.tokenURL, provider.jwksURL].contains("") else { return provider }
        let document = try await naming(provider) { try await documents.discovery(of: issuer) }
        for (key, part) in [
            ("authorization_endpoint", \OAuthProvider.authorizationURL), ("token_endpoint", \.tokenURL),
            ("userinfo_endpoint", \.userinfoURL), ("jwks_uri", \.jwksURL),
        ] where provider[keyPath: part].isEmpty {
            guard let url = document[key]?.text else { continue }
            guard url.isEndpointURL else {
                documents.forgetDiscovery(of: issuer)
                throw error(.failed("its discovery document has no good \(key)"), provider)
            }
            provider[keyPath: part] = url
        }
        guard ![provider.authorizationURL, provider.tokenURL, provider.jwksURL].contains("") else {
            documents.forgetDiscovery(of: issuer)
            throw error(.failed("its discovery document is incomplete"), provider)
        }
        if provider.clientAuthentication == .published {
            let methods = document["token_endpoint_auth_methods_supported"]?.elements
            // Without a word on it, it is Basic (OpenID Connect Discovery §3).
            provider.clientAuthentication = methods?.contains("client_secret_post") == true ? .post : .basic
        }
        return provider
    }

    /// Who has signed in there.
    ///
    /// Throws `oauth_refused`, `invalid_id_token`, `oauth_profile_incomplete`, `provider_failed`.
    func profile(by code: Code, of client: OAuthClient) async throws -> OAuthProfile {
        let provider = try await discovered(client)
        let profile = try await naming(provider) {
            let token = try await tokens(by: code, client, provider)
            var answers = OAuthProvider.Answers(token: token)
            answers.claims = try await claims(token, code.nonce, client, provider)
            if !provider.userinfoURL.isEmpty {
                let (userinfo, emails) = try await userinfo(token, client, provider)
                answers.userinfo = userinfo
                answers.emails = emails
                // An answer about somebody else is a swapped access token (OpenID Connect Core §5.3.2).
                if let subject = answers.claims?["sub"], subject != userinfo["sub"],
                    provider.isDiscovered || userinfo["sub"] != nil
                {
                    throw OAuthFault.invalidIDToken("its subject is not that of userinfo")
                }
            }
            return provider.profile(answers)
        }
        guard let profile else { throw incomplete(provider, "who you are") }
        return profile
    }

    /// Who an ID token is about that a mobile application got from the provider itself.
    ///
    /// Throws `invalid_id_token`, `provider_failed`, and `provider_disabled` for a provider without ID tokens.
    func profile(byIDToken text: String, nonce: String, of client: OAuthClient) async throws
        -> OAuthProfile
    {
        let provider = try await discovered(client)
        guard !provider.jwksURL.isEmpty, !provider.issuers.isEmpty else {
            throw AuthError.validation(["id_token": "is not something that \(provider.displayName) gives"])
        }
        return try await naming(provider) {
            let end = IDToken.keptSecondsMax
            let token = try await verified(text, .plainOrHashed(nonce), endSecondsMax: end, client, provider)
            guard let profile = provider.profile(.init(token: [:], claims: token.claims)) else {
                throw OAuthFault.invalidIDToken("it has no subject")
            }
            return profile
        }
    }

    func incomplete(_ provider: OAuthProvider, _ what: String) -> AuthError {
        AuthError(.oauthProfileIncomplete, "\(provider.displayName) did not tell \(what).")
    }

    // MARK: Requests

    private func tokens(by code: Code, _ client: OAuthClient, _ provider: OAuthProvider) async throws -> JSON {
        var form = [
            ("grant_type", "authorization_code"), ("code", code.text.reveal()), ("redirect_uri", code.redirectURI),
        ]
        if let verifier = code.verifier { form.append(("code_verifier", verifier.reveal())) }
        var headers: [String] = []
        switch provider.clientAuthentication {
        case .basic:
            let pair = [client.clientID, client.clientSecret.reveal()].map(FormEncoding.encode)
            headers.append("Authorization: Basic \(Base64.encode(Array(pair.joined(separator: ":").utf8)))")
        case .post, .published, .appleJWT:
            let secret =
                if let key = client.appleKey { try appleSecrets.secret(key, at: services.clock.now()) } else {
                    client.clientSecret
                }
            form += [("client_id", client.clientID), ("client_secret", secret.reveal())]
        }
        let json = try Self.json(await services.fetch(.post(provider.tokenURL, form: form, headers: headers)))
        guard !json.isError, let token = json["access_token"]?.text, token.isHeaderToken else {
            throw Self.refusal(json) ?? OAuthFault.failed("its token endpoint gives no access token")
        }
        return json
    }

    private func claims(_ token: JSON, _ nonce: String?, _ client: OAuthClient, _ provider: OAuthProvider) async throws
        -> JSON?
    {
        let text = token["id_token"]?.text
        switch (provider.idToken, text) {
        case (.ignored, _): return nil
        case (.required, nil): throw OAuthFault.invalidIDToken("there is none")
        case (.accepted, nil), (.acceptedWithoutNonce, nil): return nil
        case (_, let text?):
            let expected = provider.sendsNonce ? nonce.map(IDToken.Nonce.exactly) : nil
            return try await verified(text, expected, client, provider).claims
        }
    }

    private func verified(
        _ text: String,
        _ nonce: IDToken.Nonce?,
        endSecondsMax: Int? = nil,
        _ client: OAuthClient,
        _ provider: OAuthProvider
    ) async throws -> IDToken {
        do {
            let header = try IDToken.Header(of: text)
            let key = try await documents.key(for: header, at: provider.jwksURL)
            let expectation = IDToken.Expectation(
                issuers: provider.issuers,
                audiences: [client.clientID] + client.nativeClientIDs,
                nonce: nonce,
                endSecondsMax: endSecondsMax,
                now: services.clock.now()
            )
            do {
                return try IDToken(text, signedBy: key, expectation)
            } catch let problem as IDToken.Problem where problem.isWrongSignature {
                guard let key = try await documents.renewedKey(for: header, at: provider.jwksURL) else { throw problem }
                return try IDToken(text, signedBy: key, expectation)
            }
        } catch let problem as IDToken.Problem {
            throw OAuthFault.invalidIDToken(problem.description)
        }
    }

    private func userinfo(_ token: JSON, _ client: OAuthClient, _ provider: OAuthProvider) async throws -> (JSON, JSON?)
    {
        let bearer = "Authorization: Bearer \(token["access_token"]?.text ?? "")"
        let headers = [bearer] + provider.userinfoHeaders.map { $0.replacing("{client_id}", with: client.clientID) }
        var url = provider.userinfoURL
        if !provider.userinfoQuery.isEmpty && !url.contains("?") { url += "?\(provider.userinfoQuery)" }
        let userinfo = try Self.json(await services.fetch(.get(url, headers: headers)))
        guard case .object = userinfo, !userinfo.isError else {
            throw Self.refusal(userinfo) ?? OAuthFault.failed("its userinfo is no object")
        }
        guard provider.hasEmailList else { return (userinfo, nil) }
        let list = try await services.fetch(.get(provider.userinfoURL + "/emails", headers: headers))
        // Without the right to read them, there is no verified address; everything else goes on.
        if [403, 404].contains(list.status) { return (userinfo, nil) }
        return (userinfo, try Self.json(list))
    }

    // MARK: Answers

    /// Throws ``OAuthFault`` for what is no success, or no JSON: a refusal where the provider finds fault with what it was sent.
    private static func json(_ answer: OutboundAnswer) throws -> JSON {
        // Too slow and too often is no fault of the code.
        guard (400..<500).contains(answer.status), ![408, 425, 429].contains(answer.status) else {
            return try document(answer)
        }
        throw JSON(parsing: answer.body).flatMap(refusal) ?? .refused("it answers with status \(answer.status)")
    }

    /// Throws ``OAuthFault`` for what is no success, or no JSON.
    static func document(_ answer: OutboundAnswer) throws -> JSON {
        guard (200..<300).contains(answer.status) else {
            throw OAuthFault.failed("it answers with status \(answer.status)")
        }
        guard let json = JSON(parsing: answer.body) else { throw OAuthFault.failed("its answer is no JSON") }
        return json
    }

    /// By RFC 6749 §5.2; its error code is for the log, when it is one.
    private static func refusal(_ json: JSON) -> OAuthFault? {
        guard json.isError else { return nil }
        let code = json["error"]?.text.flatMap { $0.wholeMatch(of: /[a-z_]{1,40}/) == nil ? nil : $0 }
        return .refused("it refuses\(code.map { ": \($0)" } ?? "")")
    }

    // MARK: Refusals

    /// Runs what asks the provider; what goes wrong there becomes a refusal that names it.
    private func naming<T: Sendable>(_ provider: OAuthProvider, _ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch let fault as OAuthFault {
            throw error(fault, provider)
        } catch let failure as OutboundFailure {
            throw error(.failed(failure.description), provider)
        }
    }

    private func error(_ fault: OAuthFault, _ provider: OAuthProvider) -> AuthError {
        services.logger.warning(
            "A sign-in by a provider failed.",
            metadata: ["provider": "\(provider.name)", "reason": "\(fault)"]
        )
        return switch fault {
        case .refused:
            AuthError(.oauthRefused, "\(provider.displayName) refuses this sign-in. Start it again.", cause: fault)
        case .invalidIDToken:
            AuthError(.invalidIDToken, "The ID token of \(provider.displayName) is not valid.", cause: fault)
        case .failed:
            AuthError(
                .providerFailed,
                "\(provider.displayName) can't be asked at the moment. Try again later; the server's log says why.",
                cause: fault
            )
        }
    }
}

extension JSON {
    /// Some say by a success that they refuse (Slack, GitHub).
    fileprivate var isError: Bool { self["error"].map { $0 != .null } ?? false }
}

extension String {
    /// What can stand behind `Bearer` (RFC 6750 §2.1), and a little more.
    fileprivate var isHeaderToken: Bool { !isEmpty && utf8.allSatisfy { (0x21...0x7E).contains($0) } }
}
