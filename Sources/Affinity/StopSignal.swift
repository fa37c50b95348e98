internal import Dispatch
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#endif

/// Sent once, and waited for by whoever runs until then.
final class StopSignal: Sendable {
    private let sent: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    private let flag = Atomic(false)

    init() { (sent, continuation) = AsyncStream.makeStream() }

    var isSent: Bool { flag.load(ordering: .acquiring) }

    func send() {
        flag.store(true, ordering: .releasing)
        continuation.finish()
    }

    func wait() async { for await _ in sent {} }
}

/// Turns signals of the process into calls, for as long as it is kept.
final class Signals: Sendable {
    private let cancelAll: @Sendable () -> Void

    /// Calls `body` for the first SIGTERM or SIGINT; a second one ends the process as it stands.
    static func untilTermination(_ body: @escaping @Sendable () -> Void) -> Signals {
        // A client that goes away must not end the process.
        signal(SIGPIPE, SIG_IGN)
        let hasBegun = Once()
        return Signals([SIGTERM, SIGINT]) {
            if hasBegun.isFirst { body() } else { _exit(1) }
        }
    }

    private init(_ numbers: [Int32], _ body: @escaping @Sendable () -> Void) {
        let cancels = numbers.map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler(handler: DispatchWorkItem(block: body))
            source.resume()
            let kept = Kept(source)
            return { @Sendable in kept.source.cancel() }
        }
        cancelAll = { for cancel in cancels { cancel() } }
    }

    func cancel() { cancelAll() }

    private final class Once: Sendable {
        private let isDone = Atomic(false)

        var isFirst: Bool { !isDone.exchange(true, ordering: .acquiringAndReleasing) }
    }

    /// Unchecked: Dispatch's objects may be used on any thread, but their protocols do not say so.
    private final class Kept: @unchecked Sendable {
        let source: any DispatchSourceSignal

        init(_ source: any DispatchSourceSignal) { self.source = source }
    }
}
