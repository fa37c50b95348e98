internal import AffinityCore

/// A client that watches at a node of a simulated cluster.
public final class SimulatedWatch: @unchecked Sendable {
    private let process: SimulatedProcess
    private let limit: Int
    private let pause: Duration?
    private let body: (Result<[ByteWatch.Event], WatchError>?, WatchToken) -> Void
    private var watch: ByteWatch?
    private var isPausing = false

    init(
        _ process: SimulatedProcess, _ limit: Int, _ pause: Duration?,
        _ body: @escaping (Result<[ByteWatch.Event], WatchError>?, WatchToken) -> Void
    ) {
        (self.process, self.limit, self.pause, self.body) = (process, limit, pause, body)
    }

    func begin(_ watch: ByteWatch) {
        self.watch = watch
        process.onDeath { [weak self] in self?.lose() }
    }

    /// Ends it; nothing is heard of it any more.
    public func end() { watch = nil }

    private func lose() {
        guard watch != nil else { return }
        watch = nil
        body(nil, WatchToken())
    }

    /// Takes what is there, or a part of it and the rest a little later.
    func take() {
        while let watch, !process.isDead, !isPausing {
            do throws(WatchError) {
                let events = try watch.take(atMost: limit)
                if events.isEmpty { return }
                body(.success(events), watch.token)
            } catch {
                self.watch = nil
                return body(.failure(error), WatchToken())
            }
            guard let pause else { continue }
            isPausing = true
            process.simulation.after(pause) { [weak self] in
                self?.isPausing = false
                self?.take()
            }
        }
    }
}
