internal import AffinityBenchmarkSupport
internal import AffinityNet
internal import Foundation

/// The gateway's HTTP server with an answer that is always the same and is made in C++: what HTTP alone costs.
@main enum Constant {
    static func main() async throws {
        let port = Arguments("port").number("port", default: 8080)
        let loops = try EventLoopGroup(count: ProcessInfo.processInfo.activeProcessorCount)
        let server = try HTTPServer.constant(group: loops)
        _ = try await server.bind(host: "127.0.0.1", port: port)
        // Until a signal ends the process.
        try await Task.sleep(for: .seconds(86_400))
        withExtendedLifetime(server) {}
    }
}
