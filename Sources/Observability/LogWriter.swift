internal import AffinityCore
internal import Synchronization

/// Takes finished lines and writes them on a thread of its own, so that nobody who logs ever waits for a pipe.
///
/// What waits to be written is bounded (and as much again may be on its way). When it is full, newer lines are dropped and counted, and a line says how
/// many there were as soon as there is room.
///
/// Called by `Log`. Calls `C/LineOutput`.
public final class LogWriter: Sendable {
    /// The process's standard error. It exists once, so that lines of all logs come in order, and is flushed when the
    /// process ends.
    public static let standardError: LogWriter = {
        AtExit.flushStandardError()
        return LogWriter(fileDescriptor: 2)
    }()

    /// Lines that may wait.
    public static let linesMax = 8_192
    /// Bytes that may wait.
    public static let bytesMax = 8 << 20

    private let core: Core

    /// Writes to `fileDescriptor`, which belongs to the caller and has to stay open until `flush` has said that
    /// everything is written.
    public init(fileDescriptor: Int32) {
        let core = Core(LineOutput(descriptor: fileDescriptor))
        self.core = core
        core.start()
    }

    // The thread writes what it has and ends; nobody waits for it.
    deinit { core.close() }

    /// Whether the lines are read on a terminal.
    public var isTerminal: Bool { core.output.isTerminal }

    /// Lines that were dropped since the start, because too many waited or nobody could read them any more.
    public var dropped: UInt64 { core.state.withLock { $0.droppedEver } }

    /// Hands a line over, without its line break. Never waits.
    ///
    /// - Parameters:
    ///   - line: the line.
    ///   - gap: makes the line that says how many were dropped before this one.
    func write(_ line: String, gap: @escaping @Sendable (_ dropped: UInt64) -> String) {
        core.add(Array(line.utf8) + [UInt8(ascii: "\n")], gap)
    }

    /// Waits until everything that was handed over before is written.
    ///
    /// Blocks the thread: for the end of a process and for tests.
    ///
    /// - Parameter limit: how long to wait at most.
    /// - Returns: whether everything was written.
    @discardableResult
    public func flush(within limit: Duration) -> Bool { core.flush(within: limit) }
}

extension LogWriter {
    /// What the writer and its thread share; it lives until the thread ends.
    fileprivate final class Core: Sendable {
        struct State {
            var lines: [[UInt8]] = []
            var bytes = 0
            /// Dropped, and not yet said so.
            var dropped: UInt64 = 0
            var droppedEver: UInt64 = 0
            var gap: (@Sendable (UInt64) -> String)?
            /// Counts of lines: taken on, and done with.
            var added: UInt64 = 0
            var done: UInt64 = 0
            var isClosed = false
            var hasThread = false
            var waiting: [LogSignal] = []
        }

        let output: LineOutput
        let state = Mutex(State())
        private let signal = LogSignal()

        init(_ output: LineOutput) { self.output = output }

        func start() {
            let isRunning = LogThread.start { self.run() }
            state.withLock { $0.hasThread = isRunning }
        }

        func add(_ line: [UInt8], _ gap: @escaping @Sendable (UInt64) -> String) {
            let isTaken = state.withLock { state in
                guard state.hasThread, state.lines.count < LogWriter.linesMax,
                    state.bytes + line.count <= LogWriter.bytesMax
                else {
                    state.dropped += 1
                    state.droppedEver += 1
                    state.gap = gap
                    return false
                }
                if state.dropped > 0 {
                    // Before the line that found room again, which is where the others are missing.
                    let note = Array(gap(state.dropped).utf8) + [UInt8(ascii: "\n")]
                    state.dropped = 0
                    state.lines.append(note)
                    state.bytes += note.count
                    state.added += 1
                }
                state.lines.append(line)
                state.bytes += line.count
                state.added += 1
                return true
            }
            if isTaken { signal.raise() }
        }

        func close() {
            state.withLock { $0.isClosed = true }
            signal.raise()
        }

        func flush(within limit: Duration) -> Bool {
            let mine = LogSignal()
            let clock = ContinuousClock()
            let end = clock.now.advanced(by: min(limit, .seconds(3_600)))
            let target = state.withLock { state in
                if state.hasThread { state.waiting.append(mine) }
                return state.added
            }
            signal.raise()
            while true {
                let (done, hasThread) = state.withLock { ($0.done, $0.hasThread) }
                let left = clock.now.duration(to: end)
                if done >= target || !hasThread || left <= .zero {
                    state.withLock { state in state.waiting.removeAll { $0 === mine } }
                    return done >= target
                }
                mine.waitBriefly()
            }
        }

        /// The writer's thread.
        private func run() {
            while true {
                signal.wait()
                while let lines = take() {
                    for line in lines {
                        let isWritten = output.write(line)
                        let waiting = state.withLock { state in
                            state.done += 1
                            if !isWritten { state.droppedEver += 1 }
                            return state.waiting
                        }
                        for signal in waiting { signal.raise() }
                    }
                }
                if state.withLock({ $0.isClosed && $0.lines.isEmpty }) { return }
            }
        }

        /// Everything that waits; or, when nothing does, the news of what was dropped; or nothing.
        private func take() -> [[UInt8]]? {
            state.withLock { state in
                if state.lines.isEmpty, state.dropped > 0, let gap = state.gap {
                    state.lines.append(Array(gap(state.dropped).utf8) + [UInt8(ascii: "\n")])
                    state.dropped = 0
                    state.added += 1
                }
                guard !state.lines.isEmpty else { return nil }
                defer {
                    state.lines = []
                    state.bytes = 0
                }
                return state.lines
            }
        }
    }
}
