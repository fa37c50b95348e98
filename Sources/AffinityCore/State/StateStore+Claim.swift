/// Becoming master: the claims (C1), what they end (C2), and the rewriting of what is in doubt (C3, C4).
extension StateStore {
    /// The claims of an epoch on their way to the log.
    struct Claims {
        /// Where each stands, once it is acknowledged.
        var offsets: [Offset?]
        let sent: MonotonicTime
        let body: (Verdict) -> Void
    }

    /// Begins an epoch: from now on commands are numbered within it.
    func begin(_ epoch: Epoch, newLog: UInt64) {
        precondition(epoch > applied.epoch, "an epoch is above every epoch that was read")
        self.epoch = epoch
        number = 0
        acknowledged = 0
        self.newLog = newLog
    }

    /// The log's own number. A claim may name another one than its settled: then it was the second on a new log.
    var logNumber: UInt64 { applied.log == 0 ? newLog : applied.log }

    /// C1: appends a claim to every changelog; `body` hears when all are acknowledged.
    ///
    /// A claim may come to stand anywhere: what lies before it is read afterwards, and ends the reading.
    func claim(_ body: @escaping (Verdict) -> Void) {
        claims = Claims(offsets: stores.map { _ in nil }, sent: clock.monotonic, body: body)
        let value = ControlRecord(.claim, log: logNumber, node: node).bytes
        let stamp = RecordStamp(epoch: epoch, number: 0, count: UInt32(stores.count), acknowledged: 0)
        log.append(
            stores.enumerated().map { changelog, store in
                OutgoingRecord(
                    changelog: changelog,
                    record: Record(
                        key: store.controlKey, value: value, headers: RecordHeaders(stamp: stamp, time: clock.now)))
            })
    }

    func takeClaims(_ acks: [LogAck]) -> Verdict {
        for ack in acks {
            switch ack.result {
            case .success(let offset) where offset >= ackOffsets[ack.changelog]:
                claims?.offsets[ack.changelog] = offset
                ackOffsets[ack.changelog] = offset.next
                nextOffsets[ack.changelog] = offset.next
            case .success(let offset):
                let name = stores[ack.changelog].name
                let reason = "\(name): the claim stands at \(offset), before what was read"
                return .stepDown(StepDown(reason: reason, isRetriable: true))
            case .failure(let error): return .stepDown(StepDown(error))
            }
        }
        guard let claims, claims.offsets.allSatisfy({ $0 != nil }) else { return .good }
        claimed = claims.offsets.compactMap { $0 }
        self.claims = nil
        gaps.contiguous = stores.map { _ in claims.sent }
        claims.body(.good)
        return .good
    }

    /// C2: ends the reading at the claims. Everything before them has been taken in.
    ///
    /// - Throws: `MemStoreError`, and `LogError.corrupt` for a record of another log.
    func conclude() throws {
        let former = applied
        if isShared {
            let first = fold.firstNumber(before: claimed[0])
            try commit(
                fold.conclude(epoch, claims: claimed, &applied, &unsettled), after: former, number: first ?? newLog)
        } else {
            for (changelog, claim) in claimed.enumerated() { applied.places[changelog].next = claim.next }
            applied.epoch = epoch
            try commit(LogFold.Decisions(), after: former)
        }
    }

    /// C3: appends the current value, or a tombstone, of every key that is in doubt; `body` hears when all stand.
    ///
    /// - Returns: the keys whose doubtful record is older than `lag`: compaction may have taken what was good of them.
    func rewrite(olderThan lag: Duration, _ body: @escaping (Settlement) -> Void) throws(MemStoreError) -> [String] {
        let oldest = clock.now.advanced(by: .zero - lag)
        var late: [String] = []
        for store in stores.indices {
            // In an order that every run has.
            let doubtful = unsettled.doubtful(store).sorted { $0.key.lexicographicallyPrecedes($1.key) }
            for (key, appended) in doubtful {
                if appended < oldest { late.append("\(stores[store].name) \(Self.shown(key))") }
                let entry = try memstore.get(store, key)
                append(Write(store: store, key: key, value: entry?.value, time: entry?.time ?? clock.now, tags: []))
            }
        }
        afterPending(body)
        return late
    }

    /// A key as a person may know it.
    private static func shown(_ key: [UInt8]) -> String {
        if let text = String(validating: key, as: UTF8.self) { return "\"\(text)\"" }
        return "0x" + key.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
}
