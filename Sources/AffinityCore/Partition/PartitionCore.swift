/// One instance of a keyspace's logic with its stores and handlers: everything of a replica but the actor.
///
/// The replica runs it on its executor, a `PartitionProbe` in the test's own isolation. Calls the handlers and the
/// `StateStore`.
@usableFromInline final class PartitionCore<P: Partition> {
    /// What the handler made of a command; the command still has to be submitted, unless it was refused.
    @usableFromInline enum Execution<Reply: Sendable>: Sendable {
        case reply(Reply)
        case rejected(Rejected)
        /// The repeated outcome of a former request, and the version that it wrote.
        case replay(Result<Reply, Rejected>, Version)
        /// It must not, or could not, run. Nothing is left of it.
        case refused(AskError)

        @usableFromInline var isReplay: Bool { if case .replay = self { true } else { false } }
    }

    let partition: P
    /// In the order of their index: the internal ones first, the others by name.
    let stores: [AnyStore]
    /// By their own type.
    @usableFromInline let handlers: [ObjectIdentifier: Handler]
    private let requests: AnyStore

    /// Makes an instance and checks what the subclass declares.
    init() throws(AssemblyError) {
        partition = P()
        var mistakes: [String] = []
        let table = Handlers()
        P.register(table)
        handlers = Self.bind(table, to: partition, &mistakes)
        requests = Store<[UInt8], [UInt8]>(AnsweredRequests.storeName)
        stores = [requests] + Self.stores(of: partition, &mistakes)
        if !mistakes.isEmpty { throw AssemblyError(type: "\(P.self)", mistakes: mistakes) }
        for (index, store) in stores.enumerated() { store.index = index }
    }

    private static func bind(_ table: Handlers, to partition: P, _ mistakes: inout [String]) -> [ObjectIdentifier:
        Handler]
    {
        var handlers: [ObjectIdentifier: Handler] = [:]
        var names = Set<String>()
        for binding in table.bindings {
            if !names.insert(binding.name).inserted { mistakes.append("two handlers for \"\(binding.name)\"") }
            guard partition.isKind(of: binding.owner) else {
                mistakes.append("\"\(binding.name)\" is handled by a method of \(binding.owner)")
                continue
            }
            handlers[binding.handler] = binding.bind(partition)
        }
        return handlers
    }

    private static func stores(of partition: P, _ mistakes: inout [String]) -> [AnyStore] {
        var stores: [AnyStore] = []
        var mirror: Mirror? = Mirror(reflecting: partition)
        while let current = mirror {
            stores += current.children.compactMap { $0.value as? AnyStore }
            mirror = current.superclassMirror
        }
        var names = Set<String>()
        for store in stores {
            if !names.insert(store.name).inserted { mistakes.append("two stores named \"\(store.name)\"") }
            if !isGood(store.name) { mistakes.append("the store name \"\(store.name)\" is not allowed") }
        }
        return stores.sorted { $0.name < $1.name }
    }

    /// The name becomes a part of a topic's, so it has the letters that Kafka allows there.
    private static func isGood(_ name: String) -> Bool {
        let letters = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return letters && !name.isEmpty && name.utf8.count <= 200 && !name.hasPrefix("_")
    }

    // MARK: - Running

    /// Runs a command's handler. What it did is in the open transaction of `state`, to be submitted by the caller.
    @inlinable func execute<C: Command>(_ command: C, _ envelope: Envelope, _ state: StateStore) -> Execution<C.Reply> {
        guard let handler = handlers[ObjectIdentifier(CommandHandler<C>.self)] else {
            return .refused(missing(C.name, "command"))
        }
        state.begin()
        if envelope.idempotency != nil, let former = replay(command, envelope, state) { return former }
        var tx = Transaction(state)
        let result: Execution<C.Reply>
        do throws(Rejected) {
            result = .reply(try unsafeDowncast(handler, to: CommandHandler<C>.self).body(command, &tx))
        } catch {
            if let refusal = state.takeRefusal() { return .refused(refusal) }
            state.cancel()
            return envelope.idempotency == nil
                ? .rejected(error) : remember(.rejected(error), of: command, envelope, state)
        }
        if let refusal = state.takeRefusal() { return .refused(refusal) }
        guard envelope.idempotency != nil else { return result }
        return remember(result, of: command, envelope, state)
    }

    /// Runs a query's handler on the committed state.
    @inlinable func read<Q: Query>(_ query: Q, _ state: StateStore) throws(AskError) -> Result<Q.Reply, Rejected> {
        guard let handler = handlers[ObjectIdentifier(QueryHandler<Q>.self)] else { throw missing(Q.name, "query") }
        state.begin()
        let view = View(state)
        let result: Result<Q.Reply, Rejected>
        do throws(Rejected) {
            result = .success(try unsafeDowncast(handler, to: QueryHandler<Q>.self).body(query, view))
        } catch {
            result = .failure(error)
        }
        if let refusal = state.takeRefusal() { throw refusal }
        return result
    }

    @usableFromInline func missing(_ name: String, _ kind: String) -> AskError {
        AskError(.notApplied, .failed, "\(P.self) has no handler for \(kind) \(name); name one in register(_:)")
    }

    // MARK: - Idempotency (PROTOCOL §9)

    /// The outcome of a former request of the same name, if there is one.
    @usableFromInline func replay<C: Command>(
        _ command: C, _ envelope: Envelope, _ state: StateStore
    ) -> Execution<C.Reply>? {
        guard let request = envelope.idempotency else { return nil }
        let key = AnsweredRequests.key(request, routing: command.key.routingBytes)
        guard let entry = state.read(AnsweredRequests.storeIndex, key, committed: false) else {
            return state.takeRefusal().map { .refused($0) }
        }
        guard !state.answered.isExpired(entry, at: state.now) else { return nil }
        guard let outcome = AnsweredRequests.Outcome(bytes: entry.value) else {
            return .refused(AskError(.unknown, .failed, "the outcome of a former request cannot be read"))
        }
        guard outcome.digest == request.digest else {
            return .refused(
                AskError(.notApplied, .repeated, "another request was made under the idempotency key \(request.name)"))
        }
        state.noteRepeat(of: key)
        do {
            if outcome.isRejected {
                let rejection = try JSONSerde<Rejected>().decode(outcome.answer)
                return .replay(.failure(rejection), outcome.version)
            }
            return .replay(.success(try JSONSerde<C.Reply>().decode(outcome.answer)), outcome.version)
        } catch {
            return .refused(AskError(.unknown, .failed, "the outcome of a former request: \(error.description)"))
        }
    }

    /// Writes the outcome beside what the command wrote.
    @usableFromInline func remember<C: Command>(
        _ result: Execution<C.Reply>, of command: C, _ envelope: Envelope, _ state: StateStore
    ) -> Execution<C.Reply> {
        guard let request = envelope.idempotency else { return result }
        let key = AnsweredRequests.key(request, routing: command.key.routingBytes)
        do throws(SerdeError) {
            let answer: [UInt8]
            let isRejected: Bool
            switch result {
            case .reply(let reply): (answer, isRejected) = (try JSONSerde<C.Reply>().encode(reply), false)
            case .rejected(let rejection): (answer, isRejected) = (try JSONSerde<Rejected>().encode(rejection), true)
            default: return result
            }
            let outcome = AnsweredRequests.Outcome(
                digest: request.digest, isRejected: isRejected, version: state.currentVersion, answer: answer)
            state.write(
                AnsweredRequests.storeIndex, key, outcome.bytes, routing: nil, time: nil, tags: [])
        } catch {
            state.cancel()
            return .refused(AskError(.notApplied, .failed, "the reply has no JSON text: \(error.description)"))
        }
        if let refusal = state.takeRefusal() { return .refused(refusal) }
        state.answered.remember(key, written: state.now)
        return result
    }

    /// Takes the outcomes of former requests into account that the restored state has.
    ///
    /// - Throws: `MemStoreError` if they cannot be read: they would never be removed.
    func rememberRestored(_ state: StateStore) throws(MemStoreError) {
        state.begin()
        var found: [(key: [UInt8], time: Timestamp)] = []
        state.scan(AnsweredRequests.storeIndex, .all, .forward, committed: true) { key, entry in
            found.append((key, entry.time))
            return true
        }
        if let refusal = state.takeRefusal() { throw MemStoreError(.io, refusal.reason) }
        let sorted = found.sorted {
            $0.time == $1.time ? $0.key.lexicographicallyPrecedes($1.key) : $0.time < $1.time
        }
        for (key, time) in sorted { state.answered.remember(key, written: time) }
    }

    /// Removes outcomes that have had their time, a bounded number of them, as a command of its own.
    func expireAnswered(_ state: StateStore, limit: Int = 256) {
        state.begin()
        for key in state.answered.expired(at: state.now, limit: limit) {
            // The name may have been used again since: then what stands there has its own time.
            guard let entry = state.read(AnsweredRequests.storeIndex, key, committed: false),
                state.answered.isExpired(entry, at: state.now)
            else { continue }
            state.write(AnsweredRequests.storeIndex, key, nil, routing: nil, time: nil, tags: [])
        }
        // A key that could not be read stays for the next restart to find.
        _ = state.takeRefusal()
        state.submit(deadline: .never, traceparent: nil, nil)
    }
}

extension Partition {
    fileprivate func isKind(of type: any AnyObject.Type) -> Bool {
        var current: any AnyObject.Type = Swift.type(of: self)
        while true {
            if current == type { return true }
            guard let parent = _getSuperclass(current) else { return false }
            current = parent
        }
    }
}
