internal import AffinityCore
internal import AffinityNet

extension TCPPeerLink {
    /// Stops listening, tells the peers that no more requests are taken here, lets those that came be answered, then those
    /// that this node has asked, and returns when no connection is left. What is left after `limit` is closed as it
    /// stands.
    ///
    /// Handlers that still run can ask peers. The link cannot be used again. Must not be awaited by a handler.
    public nonisolated(nonsending) func drain(within limit: Duration) async {
        stopListening()
        // Weakly: the timer must not keep a link that ended long before it.
        loops[0].loop.schedule(at: context.clock.monotonic.advanced(by: limit)) { [weak self] in self?.close() }
        await end { $0.drainIncoming() }
        context.handlers.removeAll()
        await end { $0.drainOutgoing() }
    }

    /// Does so on every loop, and waits until each has ended its connections.
    private nonisolated(nonsending) func end(_ step: @escaping @Sendable (LoopPeers) -> Void) async {
        for peers in loops { peers.loop.post { step(peers) } }
        for peers in loops {
            await withUnsafeContinuation { (waiter: UnsafeContinuation<Void, Never>) in
                if !peers.loop.postIfRunning({ peers.whenEmpty(waiter) }) { waiter.resume() }
            }
        }
    }
}

extension LoopPeers {
    /// What `body` returns, called on the loop.
    func onLoop<Result: Sendable>(_ body: @escaping @Sendable (LoopPeers) -> Result) async -> Result {
        if loop.isCurrent { return body(self) }
        return await withUnsafeContinuation { continuation in
            if loop.postIfRunning({ continuation.resume(returning: body(self)) }) { return }
            // Nothing else touches it any more.
            continuation.resume(returning: body(self))
        }
    }
}
