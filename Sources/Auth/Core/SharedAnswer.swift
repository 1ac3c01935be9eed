import Dispatch
import Synchronization

/// Asks a question that may hang, such as one to the database, and waits for its answer no longer than a bound.
///
/// While one has hung for longer than that, nobody waits any more: however many ask, the cost stays one question. A class,
/// since those who ask at the same time meet in it.
final class SharedAnswer<Value: Sendable>: Sendable {
    private struct Question {
        let askedAt: ContinuousClock.Instant
        var waiting: [CheckedContinuation<Value?, Never>]
    }

    private struct State {
        var questions: [Int: Question] = [:]
        var count = 0
    }

    private let state = Mutex(State())
    private let patience: Duration
    private let isJoined: Bool

    /// With `isJoined`, who asks while a question is under way gets that one's answer, which may be of a moment earlier.
    init(patience: Duration, isJoined: Bool) {
        self.patience = patience
        self.isJoined = isJoined
    }

    /// Nil when there is no answer in time.
    func value(_ ask: @escaping @Sendable () async -> Value) async -> Value? {
        await withCheckedContinuation { continuation in
            let (isHung, started) = state.withLock { state -> (Bool, Int?) in
                let oldest = state.questions.min { $0.value.askedAt < $1.value.askedAt }
                if let oldest, oldest.value.askedAt.duration(to: .now) > patience { return (true, nil) }
                if let oldest, isJoined {
                    state.questions[oldest.key]?.waiting.append(continuation)
                    return (false, nil)
                }
                state.count += 1
                state.questions[state.count] = Question(askedAt: .now, waiting: [continuation])
                return (false, state.count)
            }
            if isHung { continuation.resume(returning: nil) }
            guard let started else { return }
            Task {
                let answer = await ask()
                resume(state.withLock { $0.questions.removeValue(forKey: started)?.waiting }, answer)
            }
            let milliseconds = Int(patience.microseconds / 1000)
            DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(milliseconds)) { [weak self] in
                guard let self else { return }
                let waiting = state.withLock { state in
                    defer { state.questions[started]?.waiting = [] }
                    return state.questions[started]?.waiting
                }
                resume(waiting, nil)
            }
        }
    }

    private func resume(_ waiting: [CheckedContinuation<Value?, Never>]?, _ answer: Value?) {
        for continuation in waiting ?? [] { continuation.resume(returning: answer) }
    }
}
