import AffinityTestSupport
import Foundation

/// Something that machines and networks do: it happens, and is over when `body` returns.
struct Fault: Sendable {
    let name: String
    let body: @Sendable (Scene) throws -> Void

    init(_ name: String, _ body: @escaping @Sendable (Scene) throws -> Void) {
        (self.name, self.body) = (name, body)
    }

    /// Each of them alone.
    static let single = nodes + servers

    /// Everything that can happen.
    static let all = single + [several]

    /// Two or three of the others at once.
    static let several = Fault("several") { scene in
        var left = single
        var chosen: [Fault] = []
        for _ in 0..<(scene.roll(0...1) < 0.5 ? 2 : 3) {
            guard let fault = scene.pick(left) else { break }
            left.removeAll { $0.name == fault.name }
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
