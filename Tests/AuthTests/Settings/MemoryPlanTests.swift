import Testing

@testable import Auth

struct MemoryPlanTests {
    private static let megabyte = MemoryPlan.megabyte

    @Test(arguments: [(1, 1), (2, 2), (8, 8)])
    func `by default there is a hashing thread for each core`(_ cores: Int, _ threads: Int) {
        #expect(MemoryPlan(cores: cores, machineBytes: 1 << 36).hashingThreads == threads)
    }

    @Test(arguments: [92, 100, 128, 150, 256, 512, 1024, 4096])
    func `the parts are within the whole`(_ megabytes: Int) {
        for cores in [1, 2, 4, 16, 64] {
            let plan = MemoryPlan(bytes: megabytes * Self.megabyte, cores: cores, machineBytes: 1 << 36)
            let parts =
                MemoryPlan.baseBytes + plan.hashingThreads * MemoryPlan.hashingThreadBytes + plan.cacheBytes
                + plan.bodyBytes * MemoryPlan.bodyFactor + plan.connectionsMax * MemoryPlan.connectionBytes
                + plan.logBytes
            #expect(parts <= plan.totalBytes, "\(cores)")
            #expect(plan.hashingThreads >= 1)
            #expect(plan.connectionsMax >= 256)
            #expect(plan.bodyBytes > Body.bytesMax)
        }
    }

    @Test func `a small machine gives half of what it has, and the least plan works`() {
        #expect(MemoryPlan(cores: 4, machineBytes: 256 * Self.megabyte).totalBytes == 128 * Self.megabyte)
        let least = MemoryPlan(cores: 4, machineBytes: 64 * Self.megabyte)
        #expect(least.totalBytes == MemoryPlan.bytesMin)
        #expect(least.hashingThreads == 1)
    }
}
