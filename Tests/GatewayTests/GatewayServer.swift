import AffinityCore
import AffinityNet
import AffinityTestSupport
import Synchronization

@testable import AffinityGateway

/// What a gateway reported.
final class Reports: Sendable {
    private let reports = Mutex<[Report]>([])

    var all: [Report] { reports.withLock { $0 } }

    func take(_ report: Report) { reports.withLock { $0.append(report) } }
}

extension Report {
    subscript(name: String) -> String? { fields.first { $0.name == name }?.value }
}

/// Runs `body`, which is blocking and has a thread of its own, against a server with these routes.
func withGateway<Result: Sendable>(
    accessLog: Bool = false, deadline: Duration = .seconds(10), beginsTraces: Bool = false, hosts: [String] = [],
    _ declare: (Routes) throws -> Void,
    _ body: @escaping @Sendable (_ port: Int, _ reports: Reports) throws -> Result
) async throws -> Result {
    let reports = Reports()
    let gateway = try HTTPGateway(declare)
    let context = GatewayContext(
        clock: SystemClock(), deadline: deadline, beginsTraces: beginsTraces, hosts: hosts,
        report: { reports.take($0) })
    var configuration = HTTPServerConfiguration()
    configuration.lingerTime = .milliseconds(200)
    let group = try EventLoopGroup(count: 2)
    let server = try HTTPServer(
        group: group, configuration: configuration, handler: gateway.handler(context, accessLog: accessLog))
    let port = try await server.bind(host: "127.0.0.1", port: 0)
    let result: Swift.Result<Result, any Error>
    do {
        result = .success(try await onThread { try body(port, reports) })
    } catch {
        result = .failure(error)
    }
    await server.drain(within: .milliseconds(20))
    await group.shutdown()
    return try result.get()
}
