/// Reading the log: of one whose records are all as good as acknowledged (PROTOCOL §7).
extension StateStore {
    /// Applies a page of a changelog that is being restored.
    ///
    /// - Parameter isLevel: whether the partition, all of its changelogs, is at the end of its log with this page.
    /// - Throws: `MemStoreError` from the memstore, and `LogError.corrupt` for a record of another log.
    func restore(_ page: LogPage, changelog: Int, isLevel: Bool) throws {
        var batch: [MemStoreWrite] = []
        batch.reserveCapacity(page.records.count)
        let controlKey = stores[changelog].controlKey
        for logged in page.records {
            if let stamp = logged.record.headers.stamp { applied.epoch = max(applied.epoch, stamp.epoch) }
            if logged.record.key == controlKey {
                try takeControl(logged, changelog)
            } else {
                let time = logged.record.headers.time ?? logged.appended
                let version = Version(at: logged.offset)
                let entry = logged.record.value.map { StoredEntry(value: $0, version: version, time: time) }
                batch.append(MemStoreWrite(store: changelog, key: logged.record.key, entry: entry))
            }
        }
        applied.places[changelog].next = page.next
        if let last = page.records.last {
            applied.places[changelog].last = last.offset
            applied.places[changelog].fingerprint = last.fingerprint
        }
        if isLevel { applied.level = clock.now }
        try memstore.commit(batch, checkpoint: applied.bytes)
        nextOffsets[changelog] = page.next
        ackOffsets[changelog] = page.next
        position = Position(nextOffsets)
    }

    private func takeControl(_ logged: LoggedRecord, _ changelog: Int) throws(LogError) {
        guard let value = logged.record.value, let control = ControlRecord(bytes: value), let log = control.logNumber
        else { return }
        if applied.log != 0, applied.log != log {
            throw LogError(
                .corrupt,
                "\(partition) \(stores[changelog].name): log \(control.log) at offset \(logged.offset), "
                    + "but the memstore was made from log \(String(applied.log, radix: 16))")
        }
        applied.log = log
    }
}
