import Foundation
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Storage
import UnixSignals

/// The server: an installation, its flows, their routes, and the services that run beside them.
package struct App: Sendable {
    let installation: Installation
    let setUp: SetUp
    let settingsChanges: SettingsChanges
    let accounts: Accounts
    let factors: SecondFactors
    let apiKeys: APIKeys
    let guests: Guests
    let routes: [Route]
    let responder: Responder
    let chain: AuditChain
    let jobs: Jobs
    let retention: AuditRetention
    private let lease: Lease
    private let readiness = Readiness()
    private let lines: LineWriter

    /// `extraRoutes` are a test's probes of the pipeline.
    init(_ installation: Installation, lines: LineWriter, extraRoutes: [Route] = []) {
        let services = installation.services
        let sessions = Sessions(services: services)
        factors = SecondFactors(services: services, sessions: sessions)
        let passwords = Passwords(services: services, sessions: sessions, factors: factors)
        let reauthentication = Reauthentication(services: services, passwords: passwords, factors: factors)
        accounts = Accounts(services: services, passwords: passwords)
        setUp = SetUp(services: services, accounts: accounts)
        settingsChanges = SettingsChanges(services: services)
        self.installation = installation
        self.lines = lines
        lease = Lease(Lease.background, services)
        let limiter = RateLimiter(isShared: installation.configuration.isShared)
        limiter.hear(services.db)
        apiKeys = APIKeys(services: services)
        guests = Guests(services: services, sessions: sessions, accounts: accounts)
        let devices = Devices(services: services, sessions: sessions)
        let secrets = Secrets(
            services: services,
            accounts: accounts,
            passwords: passwords,
            factors: factors,
            apiKeys: apiKeys,
            devices: devices,
            reauthentication: reauthentication
        )
        let reset = PasswordReset(services: services, passwords: passwords, factors: factors)
        let exchanges = OAuthExchange(services: services, documents: ProviderDocuments(services: services))
        let merges = OAuthMerges(
            services: services,
            sessions: sessions,
            passwords: passwords,
            reauthentication: reauthentication
        )
        let oauth = OAuth(
            services: services,
            exchanges: exchanges,
            signIns: OAuthSignIn(services: services, sessions: sessions, merges: merges),
            states: OAuthStates(services: services)
        )
        let links = OAuthLinks(services: services, oauth: oauth, reauthentication: reauthentication)
        let log = RequestLog(
            lines,
            isOn: installation.configuration.logLevel <= .info,
            keptBytesMax: services.memory.keptLogBytes
        )
        chain = AuditChain(services: services, lease: lease)
        jobs = Jobs(services: services, lease: lease)
        retention = AuditRetention(
            services: services,
            directory: installation.configuration.dataDirectory + "/audit"
        )
        let flows: [[Route]] = [
            RecordRoutes(accounts: accounts, reauthentication: reauthentication).routes,
            PasswordRoutes(passwords: passwords).routes,
            EmailVerificationRoutes(verification: EmailVerification(services: services)).routes,
            PasswordResetRoutes(reset: reset).routes,
            RecoveryRoutes(recovery: Recovery(services: services), reset: reset).routes,
            OneTimeCodeRoutes(codes: OneTimeCodes(services: services, sessions: sessions)).routes,
            MFARoutes(factors: factors, reauthentication: reauthentication).routes,
            OAuthRoutes(oauth: oauth, merges: merges, links: links, reauthentication: reauthentication).routes,
            AnonymousRoutes(guests: guests).routes,
            ImpersonationRoutes(impersonation: Impersonation(services: services, sessions: sessions)).routes,
            SecretRoutes(secrets: secrets).routes,
            APIKeyRoutes(secrets: secrets).routes,
            DeviceRoutes(devices: devices).routes,
            ReauthenticationRoutes(reauthentication: reauthentication).routes,
            EmailChangeRoutes(emailChange: EmailChange(services: services)).routes,
            SessionRoutes(sessions: sessions).routes,
            SetUpRoutes(setUp: setUp).routes,
            CollectionRoutes(collections: Collections(services: services, jobs: jobs)).routes,
            UserRoutes(accounts: accounts, reauthentication: reauthentication).routes,
            SettingsRoutes(changes: settingsChanges).routes,
            MailRoutes(desk: MailDesk(services: services, readiness: readiness)).routes,
            AuditRoutes(chain: chain).routes,
            LogRoutes(log: log).routes,
            HealthRoutes(services: services, readiness: readiness).routes,
            extraRoutes,
        ]
        routes = Self.documented(flows.flatMap(\.self))
        responder = Responder(
            services: services,
            table: RouteTable(routes),
            authenticator: Authenticator(services: services, apiKeys: apiKeys),
            limiter: limiter,
            clients: ClientRequests(max: services.memory.connectionsMax / 2),
            requestIDs: RequestIDs(random: services.random),
            log: log
        )
    }

    package init(_ installation: Installation) {
        let bytesMax = installation.services.memory.waitingLogBytes
        self.init(installation, lines: LineWriter(to: .standardOutput, bytesMax: bytesMax))
    }

    /// Runs all tasks of the process on the event loops, so that a request changes threads only for the database and
    /// for hashing.
    ///
    /// To be called first thing in the process. Nothing of ours blocks in a task: hashing, SQLite and logging have
    /// threads of their own. Where the runtime can't, tasks stay on the default pool, and everything works as well.
    package static func runTasksOnEventLoops() {
        _ = NIOSingletons.unsafeTryInstallSingletonPosixEventLoopGroupAsConcurrencyGlobalExecutor()
    }

    /// With the route that tells of all of them, itself included.
    private static func documented(_ routes: [Route]) -> [Route] {
        func route(_ document: JSON) -> Route {
            let bytes = ByteBuffer(string: document.serialized)
            return Route(.get, "/api/openapi.json", .open, "This document", gives: .any) { _ in
                Answer(content: .constant(bytes))
            }
        }
        let document = OpenAPI(routes: routes + [route(.null)]).document
        return routes + [route(document)]
    }

    /// Serves until the process is asked to stop; then finishes what is under way.
    ///
    /// `whenListening` is told the address, and the set-up URL while there is no admin.
    package func serve(
        within capacity: Capacity,
        whenListening: @escaping @Sendable (_ address: String, _ setUpURL: String?) -> Void
    ) async throws {
        let configuration = installation.configuration
        let setUp = setUp
        let lock = try installation.lockForServing()
        defer { withExtendedLifetime(lock) {} }
        if lock != nil { lease.beAlone() }
        try await installation.prepareSigning()
        let address = { @Sendable (port: Int) in
            OwnAddress.url(configuration.host, port)
        }
        let services = installation.services
        let responder = responder
        let connections = Connections(caps: capacity.connections)
        let budget = BodyBudget(bytesMax: capacity.memory.bodyBytes)
        let application = Application(
            responder: responder,
            server: HTTPServerBuilder { respond in
                AdmittingChannel(
                    connections: connections,
                    budget: budget,
                    trustedProxies: { services.lastSettings.value.trustedProxies },
                    refuse: responder.refuse,
                    responder: respond
                )
            },
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.host, port: configuration.port),
                serverName: nil
            ),
            onServerRunning: { channel in
                let port = channel.localAddress?.port ?? configuration.port
                // Only a start that can take requests prints a token; one that can't bind leaves the printed one alone.
                setUp.services.ownAddress.note(address(port))
                let token = try? await setUp.issueToken()
                whenListening(address(port), token.map { "\(address(port))/setup?token=\($0.text)" })
            },
            logger: installation.services.logger
        )
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [
                    .init(service: Watching(installation: installation)),
                    .init(service: lease),
                    .init(
                        service: Sweeper(
                            services: installation.services,
                            lease: lease,
                            guests: guests,
                            retention: retention
                        )
                    ),
                    .init(service: chain), .init(service: jobs),
                    .init(service: Delivery(services: installation.services, lease: lease)),
                    .init(service: RateSharing(services: installation.services, limiter: responder.limiter)),
                    .init(service: MemoryReturn()),
                    .init(service: application),
                    .init(service: Draining(readiness: readiness, connections: connections, services: services)),
                ],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: installation.services.logger
            )
        )
        do {
            try await group.run()
        } catch let error as IOError
            where error.errnoCode == EADDRINUSE || error.errnoCode == EACCES || error.errnoCode == EADDRNOTAVAIL
        {
            let reason = String(cString: strerror(error.errnoCode))
            throw Installation.Unusable(
                description:
                    "Can't listen on \(configuration.host), port \(configuration.port): \(reason). Choose another by --host and --port."
            )
        }
        lines.flush()
        try installation.close()
    }
}

/// Notices the writes of other processes, such as the command line's.
private struct Watching: Service {
    let installation: Installation

    func run() async throws {
        try? await cancelWhenGracefulShutdown { try await installation.watch() }
    }
}
