internal import AffinityConfiguration
public import AffinityGateway
internal import Foundation

extension Node {
    /// A program's `main`: assembles a node from the command line, runs it, and ends the process.
    ///
    /// Prints the reference for `--help`. Exit codes: 0 after SIGTERM or SIGINT, 78 for mistakes of the configuration,
    /// 1 for whatever else kept the node from running; the reason goes to standard error.
    ///
    /// - Parameter assemble: declares keyspaces and routes; nothing runs before it returns.
    public nonisolated(nonsending) static func main(_ assemble: (Node) throws -> HTTPGateway) async -> Never {
        do {
            let configuration = Configuration.load()
            let node = try Node(configuration)
            let gateway = try assemble(node)
            if configuration.wantsHelp {
                print(configuration.reference.text)
                exit(0)
            }
            try await node.run(gateway)
            _ = node.log.flush()
            exit(0)
        } catch let error as ConfigurationError {
            complain("\(error)")
            exit(78)
        } catch {
            complain("\(error)")
            exit(1)
        }
    }

    private static func complain(_ text: String) {
        FileHandle.standardError.write(Data((text + "\n").utf8))
    }
}
