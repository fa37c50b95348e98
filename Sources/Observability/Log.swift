public import AffinityCore

/// Structured log lines with levels, on standard error.
///
/// A line has a message that is the same for all lines of its kind, and fields for the particulars. A call whose
/// level is not written costs a comparison: message and fields are not even made. Any other call formats the line
/// and hands it over; it never waits for whoever reads it (see `LogWriter`).
///
/// Called by everything that runs in a node, on any thread. Calls `LogLine` and `LogWriter`.
public struct Log: Sendable {
    /// The least important level that is written.
    public let level: Report.Level
    /// Whether lines are JSON objects.
    public let isJSON: Bool
    private let writer: LogWriter
    private let now: @Sendable () -> Timestamp

    /// A log.
    ///
    /// - Parameters:
    ///   - configuration: level and format.
    ///   - writer: where the lines go.
    ///   - now: the time that stands in lines; the machine's clock, unless told otherwise.
    public init(
        _ configuration: LogConfiguration = LogConfiguration(), to writer: LogWriter = .standardError,
        now: (@Sendable () -> Timestamp)? = nil
    ) {
        level = configuration.level
        self.writer = writer
        self.now = now ?? WallClock.now
        switch configuration.format {
        case .auto: isJSON = !writer.isTerminal
        case .text: isJSON = false
        case .json: isJSON = true
        }
    }

    /// A log whose lines carry the time of a node's clock.
    public init(_ configuration: LogConfiguration, to writer: LogWriter = .standardError, clock: any NodeClock) {
        self.init(configuration, to: writer, now: { clock.now })
    }

    /// Writes what the core and the leaves report.
    public var reporter: Reporter {
        { report in write(report) }
    }

    /// Lines that were dropped since the start, because too many waited or nobody could read them any more.
    public var dropped: UInt64 { writer.dropped }

    /// Whether lines of that level are written.
    @inlinable
    public func isEnabled(_ level: Report.Level) -> Bool { level.rawValue >= self.level.rawValue }

    /// Writes a line of use to whoever looks for a defect.
    @inlinable
    public func debug(
        _ message: @autoclosure () -> String, _ fields: @autoclosure () -> [(name: String, value: String)] = []
    ) {
        if isEnabled(.debug) { write(Report(.debug, message(), fields())) }
    }

    /// Writes a line about the course of things.
    @inlinable
    public func info(
        _ message: @autoclosure () -> String, _ fields: @autoclosure () -> [(name: String, value: String)] = []
    ) {
        if isEnabled(.info) { write(Report(.info, message(), fields())) }
    }

    /// Writes a line about something that is not as it should be.
    @inlinable
    public func warning(
        _ message: @autoclosure () -> String, _ fields: @autoclosure () -> [(name: String, value: String)] = []
    ) {
        if isEnabled(.warning) { write(Report(.warning, message(), fields())) }
    }

    /// Writes a line about something that failed.
    @inlinable
    public func error(
        _ message: @autoclosure () -> String, _ fields: @autoclosure () -> [(name: String, value: String)] = []
    ) {
        if isEnabled(.error) { write(Report(.error, message(), fields())) }
    }

    /// Writes a report, if its level is written.
    public func write(_ report: Report) {
        guard isEnabled(report.level) else { return }
        let (isJSON, now) = (isJSON, now)
        writer.write(LogLine.format(report, at: now(), asJSON: isJSON)) { dropped in
            let news = Report(.warning, "log lines were dropped", [("dropped", "\(dropped)")])
            return LogLine.format(news, at: now(), asJSON: isJSON)
        }
    }

    /// Waits until everything is written; at the end of a program, and in tests. Blocks the thread.
    ///
    /// - Returns: whether it was written within `limit`.
    @discardableResult
    public func flush(within limit: Duration = .seconds(1)) -> Bool { writer.flush(within: limit) }
}
