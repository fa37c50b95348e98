/// Scans and counts, of what is committed or through the overlay.
extension StateStore {
    @usableFromInline typealias Visitor = (_ key: [UInt8], _ entry: StoredEntry) -> Bool

    /// Scans a store through the overlay, unless only what is committed is asked for.
    @usableFromInline func scan(
        _ store: Int, _ range: KeyRange, _ direction: ScanDirection, committed: Bool, _ visit: Visitor
    ) {
        if range != .all, !stores[store].isOrdered {
            return refuse("\(stores[store].name): ranges are scanned only of a store that is declared ordered")
        }
        do throws(MemStoreError) {
            if committed || overlays[store].isEmpty {
                try memstore.scan(store, range, direction, visit)
            } else if stores[store].isOrdered {
                try scanMerged(store, range, direction, visit)
            } else {
                try scanUnorderedMerged(store, visit)
            }
        } catch { refuse(error, in: store) }
    }

    private func scanMerged(
        _ store: Int, _ range: KeyRange, _ direction: ScanDirection, _ visit: Visitor
    ) throws(MemStoreError) {
        open.sawForetold = true
        var newer = overlays[store].walk(range, direction)
        var isDone = false
        func isBefore(_ a: [UInt8], _ b: [UInt8]) -> Bool {
            direction == .forward ? a.lexicographicallyPrecedes(b) : b.lexicographicallyPrecedes(a)
        }
        /// Visits what the overlay has next, unless that is a removal; returns whether to go on.
        func visitNewer(_ key: [UInt8]) -> Bool {
            guard let entry = newer.next()?.stored else { return true }
            isDone = !visit(key, entry)
            return !isDone
        }
        try memstore.scan(store, range, direction) { key, entry in
            while let next = newer.nextKey, isBefore(next, key) {
                guard visitNewer(next) else { return false }
            }
            if newer.nextKey == key { return visitNewer(key) }
            isDone = !visit(key, entry)
            return !isDone
        }
        while !isDone, let next = newer.nextKey { _ = visitNewer(next) }
    }

    private func scanUnorderedMerged(_ store: Int, _ visit: Visitor) throws(MemStoreError) {
        open.sawForetold = true
        let overlay = overlays[store]
        var isDone = false
        try memstore.scan(store, .all, .forward) { key, entry in
            guard overlay[key] == nil else { return true }
            isDone = !visit(key, entry)
            return !isDone
        }
        guard !isDone else { return }
        try overlay.forEach { key, newer throws(MemStoreError) in
            guard let entry = newer.stored else { return true }
            return visit(key, entry)
        }
    }

    @usableFromInline func count(_ store: Int, committed: Bool) -> Int {
        do throws(MemStoreError) {
            var count = try memstore.count(store)
            guard !committed else { return count }
            try overlays[store].forEach { key, newer throws(MemStoreError) in
                let isStored = try memstore.get(store, key) != nil
                count += (newer.value == nil ? 0 : 1) - (isStored ? 1 : 0)
                return true
            }
            return count
        } catch {
            refuse(error, in: store)
            return 0
        }
    }
}
