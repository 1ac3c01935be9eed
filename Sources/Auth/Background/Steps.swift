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

    /// What a step leaves: where to go on, nil when there is nothing more to do, and how long it held the writer.
    struct Step<Place: Sendable>: Sendable {
        let next: Place?
        let duration: Duration
    }

    /// Repeats `batch`, which works on at most `rowsMax` rows and tells on how many, until it finds fewer.
    func run(rowsMax: Int, _ batch: @escaping @Sendable (Transaction, Int) throws -> Int) async throws {
        try await run(from: true) { tx, _ in try batch(tx, rowsMax) < rowsMax ? nil : true }
    }

    /// Repeats `batch`, which is told where the former one ended and tells where the next one begins, until that is nil.
    func run<Place: Sendable>(
        from place: Place,
        _ batch: @escaping @Sendable (Transaction, Place) throws -> Place?
    ) async throws {
        var place = place
        while true {
            let step = try await step(from: place, batch)
            guard let next = step.next else { return }
            place = next
            try await pause(after: step)
        }
    }

    /// One transaction, which repeats `batch` until the time is over or nothing is left.
    func step<Place: Sendable>(
        from place: Place,
        _ batch: @escaping @Sendable (Transaction, Place) throws -> Place?
    ) async throws -> Step<Place> {
        try await db.write { tx in
            let start = ContinuousClock.now
            var next: Place? = place
            var duration = Duration.zero
            while let place = next, duration < .milliseconds(Self.stepMillisecondsMax) {
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
