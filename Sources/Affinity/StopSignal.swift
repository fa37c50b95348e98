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
    private let sources: [any DispatchSourceSignal & Sendable]

    init(_ numbers: [Int32], _ body: @escaping @Sendable () -> Void) {
        // A client that goes away must not end the process.
        signal(SIGPIPE, SIG_IGN)
        sources = numbers.map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler(handler: DispatchWorkItem(block: body))
            source.resume()
            return source
        }
    }

    func cancel() { for source in sources { source.cancel() } }
}
