import Storage

/// Work of any size in transactions that are short, with pauses in which others write.
///
/// Memory does not grow with the work, and what a step has done stays done when the process ends.
struct Steps: Sendable {
    /// A step begins no further statements once it has worked for so long.
    ///
    /// With its last statement and the commit it stays below 20 ms.
    static let stepMillisecondsMax = 8
    /// Pauses are as long as the step before, and at least so long.
    static let pauseMillisecondsMin = 1

    let db: any Database

    /// How a batch ends.
    enum Next<Place: Sendable>: Sendable {
        /// There is more to do, from there on.
        case more(Place)
        case finished(Place)
    }

    /// What a step leaves, and how long it held the writer.
    struct Step<Place: Sendable>: Sendable {
        let next: Next<Place>
        let duration: Duration
    }

    /// Repeats `batch`, which works on at most `rowsMax` rows and tells on how many, until it finds fewer.
    func run(rowsMax: Int, _ batch: @escaping @Sendable (Transaction, Int) throws -> Int) async throws {
        try await run(from: ()) { tx, _ in try batch(tx, rowsMax) < rowsMax ? .finished(()) : .more(()) }
    }

    /// Repeats `batch`, which is told where the former one ended and tells where the next one begins, until it has finished.
    func run<Place: Sendable>(
        from place: Place,
        _ batch: @escaping @Sendable (Transaction, Place) throws -> Next<Place>
    ) async throws {
        var place = place
        while true {
            let step = try await step(from: place, batch)
            switch step.next {
            case .finished: return
            case .more(let next): place = next
            }
            try await pause(after: step)
        }
    }

    /// One transaction, which repeats `batch` until the time is over or it has finished.
    func step<Place: Sendable>(
        from place: Place,
        _ batch: @escaping @Sendable (Transaction, Place) throws -> Next<Place>
    ) async throws -> Step<Place> {
        try await db.write { tx in
            let start = ContinuousClock.now
            var next = Next.more(place)
            var duration = Duration.zero
            while case .more(let place) = next, duration < .milliseconds(Self.stepMillisecondsMax) {
                next = try batch(tx, place)
                duration = ContinuousClock.now - start
            }
            return Step(next: next, duration: duration)
        }
    }

    /// Leaves the writer to others.
    func pause<Place>(after step: Step<Place>) async throws {
        try await Task.sleep(for: max(step.duration, .milliseconds(Self.pauseMillisecondsMin)))
    }
}
