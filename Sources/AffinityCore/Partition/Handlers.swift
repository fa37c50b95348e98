/// One handler, under the type of its message.
@usableFromInline class Handler {
    let name: String

    @usableFromInline init(name: String) { self.name = name }
}

@usableFromInline final class CommandHandler<C: Command>: Handler {
    @usableFromInline let body: (C, inout Transaction) throws(Rejected) -> C.Reply

    @inlinable init(_ body: @escaping (C, inout Transaction) throws(Rejected) -> C.Reply) {
        self.body = body
        super.init(name: C.name)
    }
}

@usableFromInline final class QueryHandler<Q: Query>: Handler {
    @usableFromInline let body: (Q, borrowing View) throws(Rejected) -> Q.Reply

    @inlinable init(_ body: @escaping (Q, borrowing View) throws(Rejected) -> Q.Reply) {
        self.body = body
        super.init(name: Q.name)
    }
}

/// The table of a keyspace's handlers: methods of its `Partition` subclass, each under the type of its message.
///
/// Errors of the table (two handlers of one name, a method of another class) are found when the partition is
/// assembled, and reported together.
public final class Handlers {
    struct Binding {
        /// The message's type.
        var message: ObjectIdentifier
        /// The handler's type, and so the message's: one that is both command and query is not taken for the other.
        var handler: ObjectIdentifier
        var name: String
        var owner: any AnyObject.Type
        var bind: (Partition) -> Handler
        /// Runs a message that came from another node.
        var forward: Forward
    }

    private(set) var bindings: [Binding] = []

    init() {}

    /// Names the method that handles commands of a type.
    @inlinable public func command<P: Partition, C: Command>(
        _ type: C.Type, _ method: @escaping (P) -> (C, inout Transaction) throws(Rejected) -> C.Reply
    ) {
        add(ObjectIdentifier(C.self), ObjectIdentifier(CommandHandler<C>.self), C.name, P.self) {
            CommandHandler(method(unsafeDowncast($0, to: P.self)))
        } forward: { target, message, envelope throws(AskError) in
            try await Forwarding.run(type, target, message, envelope)
        }
    }

    /// Names the method that handles queries of a type.
    @inlinable public func query<P: Partition, Q: Query>(
        _ type: Q.Type, _ method: @escaping (P) -> (Q, borrowing View) throws(Rejected) -> Q.Reply
    ) {
        add(ObjectIdentifier(Q.self), ObjectIdentifier(QueryHandler<Q>.self), Q.name, P.self) {
            QueryHandler(method(unsafeDowncast($0, to: P.self)))
        } forward: { target, message, envelope throws(AskError) in
            try await Forwarding.run(type, target, message, envelope)
        }
    }

    @usableFromInline func add(
        _ message: ObjectIdentifier, _ handler: ObjectIdentifier, _ name: String, _ owner: any AnyObject.Type,
        _ bind: @escaping (Partition) -> Handler, forward: @escaping Forward
    ) {
        bindings.append(
            Binding(message: message, handler: handler, name: name, owner: owner, bind: bind, forward: forward))
    }
}

/// What is wrong with a `Partition` subclass: found when the keyspace is assembled, before anything runs.
public struct AssemblyError: Error, Sendable, CustomStringConvertible {
    /// The class.
    public let type: String
    /// Everything that is wrong with it.
    public let mistakes: [String]

    /// The class and what is wrong with it.
    public var description: String { "\(type): " + mistakes.joined(separator: "; ") }
}
