import AffinityTestSupport
import Foundation

/// Something that machines and networks do: it happens, and is over when `body` returns.
struct Fault: Sendable {
    /// What a fault happens to; decides what can happen at once.
    enum Kind { case node, network, zookeeper, kafka, whole }

    let name: String
    let kind: Kind
    let body: @Sendable (Scene) throws -> Void

    init(_ name: String, _ kind: Kind, _ body: @escaping @Sendable (Scene) throws -> Void) {
        (self.name, self.kind, self.body) = (name, kind, body)
    }

    /// Each of them alone.
    static let single = nodes + members + servers + networks

    /// Everything that can happen; what differs each time more often than the rest.
    static let all = single + [several, several, several]

    /// Two or three of the others at once.
    static let several = Fault("several", .whole) { scene in
        var left = single.filter { $0.kind != .whole }
        var chosen: [Fault] = []
        for _ in 0..<(scene.roll(0...1) < 0.5 ? 2 : 3) {
            guard let fault = scene.pick(left) else { break }
            // There is one of those servers' sets; of nodes there are more.
            left.removeAll {
                $0.name == fault.name || [.zookeeper, .kafka].contains(fault.kind) && $0.kind == fault.kind
            }
            chosen.append(fault)
        }
        let faults = chosen
        let failures = Complaints()
        let group = DispatchGroup()
        for fault in faults {
            group.enter()
            Thread.detachNewThread {
                defer { group.leave() }
                scene.note(fault.name)
                do { try fault.body(scene) } catch { failures.add("\(fault.name): \(error)") }
            }
        }
        group.wait()
        if let failure = failures.all.first { throw Failure(failure) }
    }
}
