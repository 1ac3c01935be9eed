import Storage
import Synchronization

/// Where every so manieth row of a long list stands, as it was counted lately: a page far behind is reached without reading
/// all rows before it, and the whole is not counted at each request.
struct ListMarks: Sendable {
    /// Up to so many rows, a list is counted at each request.
    static let countedRowsMax = 10_000
    /// So many rows lie between two marks.
    static let spacingRows = 1_000
    /// Of one list; it is counted no further than to the last.
    static let countMax = 10_000
    /// When more rows have come before the first one since, the list is counted again.
    static let addedRowsMax = 10_000
    /// Afterwards the list is counted again, since rows may have been removed.
    static let keptSeconds: Int64 = 60

    /// The first row of the list.
    let first: [Value]
    /// The key of row number `spacingRows`, of twice that, and so on.
    let keys: [[Value]]
    let madeAt: Timestamp

    /// A position that a page is read from.
    struct Start: Sendable {
        var key: [Value]?
        var skipped: Int
    }

    /// Where the row with this offset is found, given how many rows have come before the first one since.
    func start(of offset: Int, added: Int) -> Start {
        let former = offset - added
        let index = min(former / Self.spacingRows, keys.count)
        guard former >= 0, index > 0 else { return Start(key: nil, skipped: offset) }
        return Start(key: keys[index - 1], skipped: former - index * Self.spacingRows)
    }
}

extension Transaction {
    /// Walks over the list from mark to mark.
    func marks(of list: ListQuery, at now: Timestamp) throws -> ListMarks? {
        guard let first = try key(in: list, behind: nil, distance: 1) else { return nil }
        var keys: [[Value]] = []
        while keys.count < ListMarks.countMax,
            let next = try key(in: list, behind: keys.last, distance: ListMarks.spacingRows)
        {
            keys.append(next)
        }
        return ListMarks(first: first, keys: keys, madeAt: now)
    }
}

/// The marks of the lists that were asked for lately.
///
/// A class, since it is filled over requests.
final class MarkedLists: Sendable {
    /// Of all lists together: some 200 bytes each.
    static let markCountMax = 20_000
    static let listCountMax = 256

    private let lists = Mutex<[String: ListMarks]>([:])

    func marks(of list: ListQuery, at now: Timestamp) -> ListMarks? {
        lists.withLock { lists in
            guard let marks = lists[list.name] else { return nil }
            guard (0..<ListMarks.keptSeconds).contains(now.seconds(since: marks.madeAt)) else {
                lists[list.name] = nil
                return nil
            }
            return marks
        }
    }

    func note(_ marks: ListMarks, of list: ListQuery) {
        lists.withLock { lists in
            lists[list.name] = marks
            while lists.count > Self.listCountMax
                || lists.count > 1 && lists.values.reduce(0, { $0 + $1.keys.count }) > Self.markCountMax
            {
                guard let oldest = lists.min(by: { $0.value.madeAt < $1.value.madeAt }) else { return }
                lists[oldest.key] = nil
            }
        }
    }

    func forget(_ list: ListQuery) {
        lists.withLock { $0[list.name] = nil }
    }
}

extension Services {
    /// A part of a list in the database: as a search, unless it is so short that a user's own request reads it.
    ///
    /// Throws `validation_failed` for a cursor that is not of this list or a page that lies too far behind, and like
    /// ``Database/search(_:)``.
    func page<Element: Sendable>(
        _ paging: Paging,
        of list: ListQuery,
        asSearch isSearch: Bool = true,
        _ element: @escaping @Sendable (Row) throws -> Element
    ) async throws -> PageOf<Element> {
        let cursor = Cursor(list: list.name, key: sealingKey)
        let position: PageOf<Element>.Position?
        var rows: [Row]
        switch paging.place {
        case .cursor(let text):
            let key = text.isEmpty ? nil : try cursor.position(text)
            rows = try await read(asSearch: isSearch) { tx in
                try tx.rows(of: list, behind: key, count: paging.size + 1)
            }
            position = nil
        case .page(let number):
            let numbered = try await numberedPage(number, size: paging.size, of: list, asSearch: isSearch)
            rows = numbered.rows
            position = .init(number: number, total: numbered.total)
        }
        let isMore = rows.count > paging.size
        if isMore { rows.removeLast() }
        return PageOf(
            elements: try rows.map(element),
            size: paging.size,
            position: position,
            next: isMore ? try rows.last.map { cursor.text(of: try list.key($0)) } : nil
        )
    }

    private func read<T: Sendable>(asSearch isSearch: Bool, _ body: @escaping @Sendable (Transaction) throws -> T)
        async throws -> T
    {
        isSearch ? try await db.search(body) : try await db.read(body)
    }

    /// The rows of the page and one more, and how many there are in all.
    private func numberedPage(_ number: Int, size: Int, of list: ListQuery, asSearch isSearch: Bool) async throws -> (
        rows: [Row], total: Int
    ) {
        let offset = (number - 1) * size
        let now = clock.now()
        let known = markedLists.marks(of: list, at: now)
        let (rows, total, marks) = try await read(asSearch: isSearch) { tx -> ([Row], Int, ListMarks?) in
            var marks = known
            var added = 0
            // Others grow at their end, which is counted anyway.
            if let former = marks, list.isDescending {
                added = try tx.countRows(of: list, before: former.first, max: ListMarks.addedRowsMax)
                if added == ListMarks.addedRowsMax { marks = nil }
            }
            if marks == nil {
                added = 0
                let counted = try tx.countRows(of: list, max: ListMarks.countedRowsMax + 1)
                guard counted > ListMarks.countedRowsMax else {
                    let rows = offset < counted ? try tx.rows(of: list, skipping: offset, count: size + 1) : []
                    return (rows, counted, nil)
                }
                marks = try tx.marks(of: list, at: now)
            }
            guard let marks else { return ([], 0, nil) }
            let rest = try tx.countRows(of: list, behind: marks.keys.last, max: ListMarks.countedRowsMax)
            let total = added + marks.keys.count * ListMarks.spacingRows + rest
            let start = marks.start(of: offset, added: added)
            guard start.skipped <= ListMarks.countedRowsMax else {
                guard marks.keys.count == ListMarks.countMax else { return ([], total, marks) }
                throw AuthError.validation(["page": "lies too far behind: go on by cursor"])
            }
            return (try tx.rows(of: list, behind: start.key, skipping: start.skipped, count: size + 1), total, marks)
        }
        if let marks { markedLists.note(marks, of: list) } else { markedLists.forget(list) }
        return (rows, total)
    }

    /// A part of a list that is in memory as a whole, in the order of its keys.
    ///
    /// Throws `validation_failed` for a cursor that is not of this list.
    func page<Element: Sendable>(
        _ paging: Paging,
        of elements: [Element],
        named name: String,
        isDescending: Bool = false,
        key: (Element) -> [Value]
    ) throws -> PageOf<Element> {
        let cursor = Cursor(list: name, key: sealingKey)
        let rest: ArraySlice<Element>
        let position: PageOf<Element>.Position?
        switch paging.place {
        case .cursor(let text):
            let last = text.isEmpty ? nil : try cursor.position(text)
            if let last, let index = elements.firstIndex(where: { key($0) == last }) {
                rest = elements[(index + 1)...]
            } else if let last {
                rest = elements.drop { key($0).comes(before: last) != isDescending }
            } else {
                rest = elements[...]
            }
            position = nil
        case .page(let number):
            rest = elements.dropFirst((number - 1) * paging.size)
            position = .init(number: number, total: elements.count)
        }
        let part = rest.prefix(paging.size)
        return PageOf(
            elements: Array(part),
            size: paging.size,
            position: position,
            next: part.count < rest.count ? part.last.map { cursor.text(of: key($0)) } : nil
        )
    }
}

extension [Value] {
    /// Part by part; texts by their bytes, as both databases order ids.
    fileprivate func comes(before other: [Value]) -> Bool {
        for (own, others) in zip(self, other) where own != others {
            switch (own, others) {
            case (.integer(let left), .integer(let right)): return left < right
            case (.text(let left), .text(let right)): return left.utf8.lexicographicallyPrecedes(right.utf8)
            default: return false
            }
        }
        return count < other.count
    }
}
