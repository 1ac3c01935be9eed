import Storage

/// A moment in milliseconds since 1970, UTC.
struct Timestamp: Hashable, Comparable, Sendable, SQLConvertible {
    let milliseconds: Int64

    init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    init(seconds: Int64) {
        milliseconds = seconds * 1000
    }

    /// Whole seconds, as JWT claims have them (RFC 7519 NumericDate).
    var seconds: Int64 { milliseconds / 1000 }

    func advanced(bySeconds seconds: Int) -> Timestamp {
        Timestamp(milliseconds: milliseconds + Int64(seconds) * 1000)
    }

    func seconds(since earlier: Timestamp) -> Int64 {
        (milliseconds - earlier.milliseconds) / 1000
    }

    static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.milliseconds < right.milliseconds
    }

    var sqlValue: Value { .integer(milliseconds) }

    init?(sqlValue: Value) {
        guard case .integer(let milliseconds) = sqlValue else { return nil }
        self.milliseconds = milliseconds
    }

    /// RFC 3339 in UTC with milliseconds, such as `2026-11-22T15:14:09.000Z`.
    var rfc3339: String {
        let days = Int64(milliseconds >= 0 ? milliseconds : milliseconds - 86_399_999) / 86_400_000
        let rest = milliseconds - days * 86_400_000
        let date = CivilDate(daysSince1970: days)
        return String(unsafeUninitializedCapacity: 24) { text in
            var length = 0
            func append(_ sign: Unicode.Scalar) {
                text[length] = UInt8(ascii: sign)
                length += 1
            }
            func append(_ value: Int64, digits: Int) {
                // A year before Christ has no place in RFC 3339.
                var rest = max(0, value)
                for index in (length..<length + digits).reversed() {
                    text[index] = UInt8(ascii: "0") + UInt8(rest % 10)
                    rest /= 10
                }
                length += digits
            }
            append(date.year, digits: 4)
            append("-")
            append(date.month, digits: 2)
            append("-")
            append(date.day, digits: 2)
            append("T")
            append(rest / 3_600_000, digits: 2)
            append(":")
            append(rest / 60_000 % 60, digits: 2)
            append(":")
            append(rest / 1000 % 60, digits: 2)
            append(".")
            append(rest % 1000, digits: 3)
            append("Z")
            return length
        }
    }

    var json: JSON { .string(rfc3339) }

    static let textBytesMax = 64

    /// Parses `2026-11-22`, or RFC 3339 with seconds, an optional fraction and a zone; nil for anything else.
    init?(parsing text: String) {
        let pattern =
            /(\d{4})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d{2}):(\d{2})))?/
            .asciiOnlyDigits()
        guard text.utf8.count <= Self.textBytesMax, let match = text.wholeMatch(of: pattern) else { return nil }
        func number(_ part: Substring?) -> Int64 { part.flatMap { Int64($0) } ?? 0 }
        let year = number(match.1)
        let month = number(match.2)
        let day = number(match.3)
        let days = CivilDate.daysSince1970(year: year, month: month, day: day)
        let date = CivilDate(daysSince1970: days)
        // A 31st of February would come back as another day.
        guard date.year == year, date.month == month, date.day == day else { return nil }
        let hour = number(match.4)
        let minute = number(match.5)
        let second = number(match.6)
        guard hour < 24, minute < 60, second < 61, number(match.9) < 24, number(match.10) < 60 else { return nil }
        let fraction = match.7.map { number(Substring(($0 + "00").prefix(3))) } ?? 0
        let offset = (number(match.9) * 60 + number(match.10)) * (match.8 == "-" ? -1 : 1)
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset * 60
        milliseconds = seconds * 1000 + fraction
    }
}

/// A date of the proleptic Gregorian calendar, by Howard Hinnant's days-from-civil arithmetic.
struct CivilDate: Equatable {
    let year: Int64
    let month: Int64
    let day: Int64

    init(daysSince1970 days: Int64) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    static func daysSince1970(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}

/// Where the time comes from.
///
/// Flows never ask the system.
struct WallClock: Sendable {
    let now: @Sendable () -> Timestamp
}
