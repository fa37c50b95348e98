internal import AffinityCore
internal import AffinityObservability

/// What is counted of the requests of one route: how many got which status, and how long they took.
///
/// All in one row of cells, so that a request writes to memory that lies together. Called on any thread.
final class RouteMeter: Sendable {
    private let method: String
    private let route: String
    private let cells: Cells
    /// For each status from 100 to 599 the place of its count: places for those that are in use, and one for the rest.
    private let places: [UInt8]

    /// The statuses that HTTP gives a meaning (RFC 9110, RFC 6585).
    private static let statuses = [
        100, 101, 200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405,
        406,
        407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 426, 428, 429, 431, 451, 500, 501, 502, 503,
        504,
        505,
    ]
    private static let placesByStatus = (100..<600).map { UInt8(statuses.firstIndex(of: $0) ?? statuses.count) }
    /// Where the histogram begins.
    private static let durations = statuses.count + 1

    /// - Parameters:
    ///   - method: as it was declared; empty for requests without a route.
    ///   - route: the pattern, never a path that came.
    init(method: String, route: String) {
        (self.method, self.route) = (method, route)
        cells = Cells(count: Self.durations + Histogram.cellCount)
        places = Self.placesByStatus
    }

    /// Counts a request that was answered.
    func count(_ status: Int, from begin: MonotonicTime, to end: MonotonicTime) {
        let here = cells.here
        let index = status &- 100
        here.add(1, at: places.indices.contains(index) ? Int(places[index]) : Self.statuses.count)
        Histogram.add(nanoseconds: end.nanoseconds &- begin.nanoseconds, to: here, at: Self.durations)
    }

    /// What was counted of several routes, and of requests that never came to one.
    static func families(_ meters: [RouteMeter], _ listener: String, _ refusals: [Int: Int]) -> [MetricFamily] {
        var requests = MetricFamily(
            "affinity_http_requests_total", .counter,
            "Requests that were answered, by route and status; without a route: of no path or method that there is, or refused as they were read."
        )
        var durations = MetricFamily(
            "affinity_http_request_duration_seconds", .histogram,
            "From the whole request to its answer, without the time that either took on the network.")
        for meter in meters {
            var isUsed = false
            for place in 0...statuses.count {
                let status = place < statuses.count ? statuses[place] : nil
                let count = meter.cells[place]
                isUsed = isUsed || count > 0
                let refused = meter.route.isEmpty ? UInt64(status.flatMap { refusals[$0] } ?? 0) : 0
                guard count + refused > 0 else { continue }
                requests.add(
                    [
                        "listener": listener, "route": meter.route, "method": meter.method,
                        "status": status.map(String.init) ?? "other",
                    ], count + refused)
            }
            guard isUsed else { continue }
            durations.add(
                ["listener": listener, "route": meter.route, "method": meter.method],
                Histogram.counts(meter.cells, at: Self.durations))
        }
        return [requests, durations]
    }
}
