import Testing

@testable import Auth

struct ClientRequestsTests {
    @Test func `a client has so many requests under way, and another's don't count`() {
        let requests = ClientRequests(max: 2)
        #expect(requests.begin("a") && requests.begin("a"))
        #expect(!requests.begin("a"))
        #expect(requests.begin("b"))
        requests.end("a")
        #expect(requests.begin("a"))
        #expect(!requests.begin("a"))
    }
}
