import Testing

@testable import Auth

struct BodyBudgetTests {
    private let budget = BodyBudget(bytesMax: 8 << 20)

    @Test func `an address may have half of all`() throws {
        try budget.reserve(4 << 20, for: "a")
        #expect(throws: BodyBudget.Refusal.address) { try budget.reserve(1, for: "a") }
        try budget.reserve(2 << 20, for: "b")
        budget.release(1 << 20, of: "a")
        try budget.reserve(1 << 20, for: "a")
    }

    @Test func `all addresses together have the whole, and places come back`() throws {
        for address in ["a", "b", "c", "d"] { try budget.reserve(2 << 20, for: address) }
        #expect(throws: BodyBudget.Refusal.process) { try budget.reserve(1, for: "e") }
        for address in ["a", "b", "c", "d"] { budget.release(2 << 20, of: address) }
        #expect(budget.bytesReserved == 0)
        try budget.reserve(1, for: "e")
    }

    @Test func `one whole body finds a place in the smallest budget`() throws {
        let small = BodyBudget(bytesMax: 2 << 20)
        #expect(small.addressBytesMax > Body.bytesMax)
        try small.reserve(Body.bytesMax, for: "a")
    }
}
