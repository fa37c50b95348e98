import AffinityTestSupport
import Testing

extension ServiceProcess {
    /// Starts `KeyValue`, and returns when it is ready.
    ///
    /// - Parameter folder: data of a former process, if it is to be taken over.
    static func keyValue(_ arguments: [String] = [], on folder: TemporaryFolder? = nil) throws -> ServiceProcess {
        let folder = try folder ?? TemporaryFolder()
        let service = try ServiceProcess(
            Programs.keyValue, ["--node.data", "\(folder.path)/data"] + arguments, keeping: folder)
        try service.waitUntilReady()
        return service
    }
}

/// Runs the tests of a suite against one KeyValue service.
struct KeyValueTrait: SuiteTrait, TestScoping {
    @TaskLocal static var process: ServiceProcess?

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        let process = try ServiceProcess.keyValue()
        try await Self.$process.withValue(process) { try await function() }
        #expect(process.child.isRunning, "it printed \(process.child.text)")
        #expect(try process.stop() == 0)
    }
}

/// The service that the suite's tests share.
var keyValue: ServiceProcess {
    get throws { try #require(KeyValueTrait.process) }
}
