import Storage
import Testing

@testable import Auth

struct TimestampTests {
    private static let known: [(Int64, String)] = [
        (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"), (1, "1970-01-01T00:00:00.001Z"),
        (-86_400_000, "1969-12-31T00:00:00.000Z"), (-86_400_001, "1969-12-30T23:59:59.999Z"),
        (86_399_999, "1970-01-01T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"), (951_868_800_000, "2000-03-01T00:00:00.000Z"),
        (1_709_164_800_000, "2024-02-29T00:00:00.000Z"), (1_735_603_200_000, "2024-12-31T00:00:00.000Z"),
        (4_107_456_000_000, "2100-02-28T00:00:00.000Z"), (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (-2_203_977_600_000, "1900-02-28T00:00:00.000Z"), (-2_203_891_200_000, "1900-03-01T00:00:00.000Z"),
        (1_000_000_000_000, "2001-09-09T01:46:40.000Z"), (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ]

    @Test(arguments: known)
    func `known moments are written and read`(_ milliseconds: Int64, _ text: String) {
        #expect(Timestamp(milliseconds: milliseconds).rfc3339 == text)
        #expect(Timestamp(parsing: text)?.milliseconds == milliseconds)
        #expect(Timestamp(milliseconds: milliseconds).json == .string(text))
    }

    @Test func `what is written is read back the same, from the year 0 to 9999`() {
        var random = SplitMix64(seed: 1)
        for _ in 0..<2000 {
            let milliseconds = Int64.random(in: -62_167_219_200_000...253_402_300_799_999, using: &random)
            let text = Timestamp(milliseconds: milliseconds).rfc3339
            #expect(Timestamp(parsing: text)?.milliseconds == milliseconds, "\(milliseconds): \(text)")
        }
    }

    @Test func `texts have the order of their moments`() {
        var random = SplitMix64(seed: 2)
        for _ in 0..<500 {
            let (one, two) = (
                Timestamp(milliseconds: .random(in: -60_000_000_000_000...250_000_000_000_000, using: &random)),
                Timestamp(milliseconds: .random(in: -60_000_000_000_000...250_000_000_000_000, using: &random))
            )
            #expect((one < two) == (one.rfc3339 < two.rfc3339), "\(one.milliseconds) \(two.milliseconds)")
        }
    }

    /// Four hundred years, after which the calendar repeats, counted day by day as a person would.
    @Test func `dates are those of the calendar`() {
        var (year, month, day): (Int64, Int64, Int64) = (1850, 1, 1)
        let first = CivilDate.daysSince1970(year: year, month: month, day: day)
        #expect(first == -43_829)
        for days in first..<(first + 146_097) {
            let date = CivilDate(daysSince1970: days)
            guard date.year == year, date.month == month, date.day == day,
                CivilDate.daysSince1970(year: year, month: month, day: day) == days
            else {
                Issue.record("\(days): \(date) instead of \(year)-\(month)-\(day)")
                return
            }
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            let lengths: [Int64] = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
            day += 1
            if day > lengths[Int(month) - 1] { (month, day) = (month + 1, 1) }
            if month > 12 { (year, month) = (year + 1, 1) }
        }
        #expect(year == 2250)
        for days in stride(from: first, to: first + 146_097, by: 997) {
            let (now, later) = (CivilDate(daysSince1970: days), CivilDate(daysSince1970: days - 146_097))
            #expect(later.year == now.year - 400 && later.month == now.month && later.day == now.day)
        }
    }

    @Test(arguments: [
        ("2026-11-22", "2026-11-22T00:00:00.000Z"), ("2026-11-22T15:14:09Z", "2026-11-22T15:14:09.000Z"),
        ("2026-11-22t15:14:09z", "2026-11-22T15:14:09.000Z"), ("2026-11-22 15:14:09Z", "2026-11-22T15:14:09.000Z"),
        ("2026-11-22T15:14:09.1Z", "2026-11-22T15:14:09.100Z"), ("2026-11-22T15:14:09.12Z", "2026-11-22T15:14:09.120Z"),
        ("2026-11-22T15:14:09.123456789Z", "2026-11-22T15:14:09.123Z"),
        ("2026-11-22T15:14:09.9999Z", "2026-11-22T15:14:09.999Z"),
        ("2026-11-22T00:14:09+01:30", "2026-11-21T22:44:09.000Z"),
        ("2026-12-31T23:30:00-00:45", "2027-01-01T00:15:00.000Z"),
        ("2026-11-22T15:14:09-00:00", "2026-11-22T15:14:09.000Z"),
        ("2026-11-22T15:14:09+23:59", "2026-11-21T15:15:09.000Z"),
        ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500Z"), ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ("0000-02-29", "0000-02-29T00:00:00.000Z"),
    ])
    func `other spellings of RFC 3339 are read`(_ text: String, _ expected: String) {
        #expect(Timestamp(parsing: text)?.rfc3339 == expected)
    }

    @Test(arguments: [
        "", "2026", "2026-11", "26-11-22", "2026-1-2", "2026-11-22T", "2026-11-22T15:14", "2026-11-22T15:14Z",
        "2026-11-22T15:14:09",
        "2026-11-22T15:14:09.Z", "2026-11-22T15:14:09.1234567890Z", "2026-11-22T15:14:09+0100",
        "2026-11-22T15:14:09+01",
        "2026-00-10", "2026-13-10", "2026-01-00", "2026-01-32", "2026-02-29", "2026-02-30", "2100-02-29", "1900-02-29",
        "2026-04-31",
        "2026-11-22T24:00:00Z", "2026-11-22T23:60:00Z", "2026-11-22T23:59:61Z", "2026-11-22T15:14:09+24:00",
        "2026-11-22T15:14:09+01:60",
        " 2026-11-22", "2026-11-22 ", "2026-11-22\n", "-2026-11-22", "+2026-11-22", "12026-11-22", "٢٠٢٦-11-22",
        "２０２６-11-22",
        "2026-11-22T15:14:09Ｚ", "2026/11/22", "22.11.2026", "now", "1700000000",
    ])
    func `anything else is refused`(_ text: String) {
        #expect(Timestamp(parsing: text) == nil)
    }

    @Test func `seconds are counted and added`() {
        let start = Timestamp(milliseconds: 1_700_000_000_999)
        #expect(start.seconds == 1_700_000_000)
        #expect(start.advanced(bySeconds: 60).milliseconds == 1_700_000_060_999)
        #expect(start.advanced(bySeconds: -60) < start)
        #expect(start.advanced(bySeconds: 61).seconds(since: start) == 61)
        #expect(Timestamp(milliseconds: 1999).seconds(since: Timestamp(milliseconds: 0)) == 1)
        #expect(Timestamp(seconds: 5) == Timestamp(milliseconds: 5000))
        #expect(Timestamp(sqlValue: start.sqlValue) == start)
        #expect(Timestamp(sqlValue: .text("1")) == nil)
    }
}
