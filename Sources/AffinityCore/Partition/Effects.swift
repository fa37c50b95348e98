internal import Synchronization

/// What an effect that runs after a commit can reach: the services of its node.
public struct Effects: Sendable {
    private let services: ServiceRegistry

    package init(services: ServiceRegistry) { self.services = services }

    /// The service of the keyspace `name`, to ask it.
    ///
    /// - Returns: `nil` if the node has no keyspace of that name and class.
    public func service<P: Partition>(_ name: String, _ type: P.Type) -> Service<P>? {
        services[name] as? Service<P>
    }
}

/// The services of a node, by the names of their keyspaces. Can be used on any thread.
package final class ServiceRegistry: Sendable {
    private let services = Mutex<[String: any Sendable]>([:])

    package init() {}

    package subscript(name: String) -> (any Sendable)? {
        get { services.withLock { $0[name] } }
        set { services.withLock { $0[name] = newValue } }
    }
}
