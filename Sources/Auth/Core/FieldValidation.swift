import Foundation

extension Field {
    /// What is wrong with a value, as a phrase that follows the field's name; nil when nothing is.
    func problem(with value: JSON) -> String? {
        switch type {
        case .text: value.text.map(textProblem) ?? "must be a text"
        case .email: emailProblem(value)
        case .url: urlProblem(value)
        case .number: numberProblem(value)
        case .bool: if case .bool = value { nil } else { "must be true or false" }
        case .date: dateProblem(value)
        case .select: selectProblem(value)
        case .json:
            countProblem(value.serialized.utf8.count, "bytes", defaultMax: Self.jsonBytesMax)
        }
    }

    private func textProblem(_ text: String) -> String? {
        // Bytes first: counting the characters of a large text is work too.
        guard text.utf8.count <= Self.textBytesMax else { return "must be at most \(Self.textBytesMax) bytes" }
        if let problem = countProblem(text.count, "characters", defaultMax: Self.textCountMax) { return problem }
        guard let pattern else { return nil }
        return switch pattern.matches(text) {
        case true?: nil
        case false?: "does not match the required pattern"
        case nil: "can't be checked: an admin must replace this field's pattern by one of RE2's syntax"
        }
    }

    private func emailProblem(_ value: JSON) -> String? {
        guard let text = value.text, EmailAddress(parsing: text) != nil else { return "must be a valid email address" }
        return textProblem(text)
    }

    private func urlProblem(_ value: JSON) -> String? {
        guard let text = value.text, text.utf8.count <= Self.textBytesMax, text.isHTTPURL else {
            return "must be an http or https URL"
        }
        return textProblem(text)
    }

    private func numberProblem(_ value: JSON) -> String? {
        guard let number = value.double else { return "must be a number" }
        if let least = min?.double, number < least { return "must be at least \(min?.serialized ?? "")" }
        if let most = max?.double, number > most { return "must be at most \(max?.serialized ?? "")" }
        return nil
    }

    private func dateProblem(_ value: JSON) -> String? {
        guard let text = value.text, let date = Timestamp(parsing: text) else {
            return "must be a date such as 2026-01-31 or 2026-01-31T12:00:00Z"
        }
        if let text = min?.text, let least = Timestamp(parsing: text), date < least {
            return "must not be before \(text)"
        }
        if let text = max?.text, let most = Timestamp(parsing: text), most < date { return "must not be after \(text)" }
        return nil
    }

    private func selectProblem(_ value: JSON) -> String? {
        let choices = "must be \(isMultiple ? "a list of" : "one of"): \(values.joined(separator: ", "))"
        guard isMultiple else { return value.text.map(values.contains) == true ? nil : choices }
        guard case .array(let elements) = value else { return choices }
        guard elements.count <= values.count else { return "must be at most \(values.count) choices" }
        guard elements.allSatisfy({ $0.text.map(values.contains) == true }) else { return choices }
        guard Set(elements.compactMap(\.text)).count == elements.count else { return "must not name a choice twice" }
        return countProblem(elements.count, "choices", defaultMax: values.count)
    }

    /// Bounds are inclusive.
    private func countProblem(_ count: Int, _ unit: String, defaultMax: Int) -> String? {
        if case .integer(let least)? = min, count < least { return "must be at least \(least) \(unit)" }
        let most = if case .integer(let most)? = max { Int(most) } else { defaultMax }
        return count > most ? "must be at most \(most) \(unit)" : nil
    }

    /// PostgreSQL's indexes take no more than 2704 bytes.
    private static let uniqueKeyBytesMax = 500

    /// The text that decides whether two values are the same one, or a digest in the place of a long one.
    func uniqueKey(of value: JSON) -> String {
        let text = comparedText(of: value)
        return text.utf8.count <= Self.uniqueKeyBytesMax ? text : "sha256:" + Hex.encode(Digest(of: text).bytes)
    }

    private func comparedText(of value: JSON) -> String {
        switch (type, value) {
        case (.email, .string(let text)): EmailAddress(parsing: text)?.folded ?? text
        case (.date, .string(let text)): Timestamp(parsing: text)?.rfc3339 ?? text
        case (.number, .number(let number)): Int64(exactly: number)?.description ?? number.description
        case (_, .string(let text)): text.precomposedStringWithCanonicalMapping
        default: value.serialized
        }
    }
}

extension JSON {
    var double: Double? {
        switch self {
        case .integer(let integer): Double(integer)
        case .number(let number): number
        case .null, .bool, .string, .array, .object: nil
        }
    }
}
