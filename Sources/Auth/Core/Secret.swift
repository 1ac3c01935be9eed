/// A value that can't be printed, dumped or interpolated into a log by accident.
struct Secret<Wrapped: Sendable>: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    private let value: Wrapped

    init(_ value: Wrapped) {
        self.value = value
    }

    /// The value itself.
    ///
    /// Every call is a place to look at in a review.
    func reveal() -> Wrapped { value }

    var description: String { "‹secret›" }
    var debugDescription: String { "‹secret›" }
    var customMirror: Mirror { Mirror(self, children: []) }
}
