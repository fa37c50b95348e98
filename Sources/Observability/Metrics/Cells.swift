internal import CLinux
internal import Glibc
internal import Synchronization

/// Counts that any thread adds to without waiting: a copy of all of them for each core of the machine, each copy on
/// lines of memory of its own, added up when they are read.
///
/// An addition is one instruction on memory that the core has to itself. A thread that is moved to another core in
/// between does no harm: the counts are atomic.
///
/// Unchecked, because it is memory that holds nothing but atomics and never moves.
package final class Cells: @unchecked Sendable {
    private let memory: UnsafeMutablePointer<Atomic<UInt64>>
    private let copies: Int
    /// From one copy to the next.
    private let stride: Int
    /// How many counts there are.
    package let count: Int

    /// More cores than that share copies.
    private static let copiesMax = 64
    /// What a core fetches at once: two lines.
    private static let lineBytes = 128

    package init(count: Int) {
        precondition(count > 0)
        self.count = count
        let perLine = Self.lineBytes / MemoryLayout<Atomic<UInt64>>.stride
        stride = (count + perLine - 1) / perLine * perLine
        // A power of two, so that a core's number becomes that of its copy without a division.
        var copies = 1
        while copies < min(sysconf(Int32(_SC_NPROCESSORS_CONF)), Self.copiesMax) { copies *= 2 }
        self.copies = copies
        let bytes = copies * stride * MemoryLayout<Atomic<UInt64>>.stride
        memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: Self.lineBytes)
            .bindMemory(to: Atomic<UInt64>.self, capacity: copies * stride)
        for index in 0..<(copies * stride) { (memory + index).initialize(to: Atomic(0)) }
    }

    deinit {
        // Atomics of numbers have nothing to be freed.
        UnsafeMutableRawPointer(memory).deallocate()
    }

    /// The copy of the core that the caller runs on.
    package struct Copy {
        fileprivate let cells: UnsafeMutablePointer<Atomic<UInt64>>

        /// Adds to one of the counts.
        ///
        /// - Precondition: `index` is one; not checked, because it is on the way of every request.
        package func add(_ more: UInt64, at index: Int) { cells[index].wrappingAdd(more, ordering: .relaxed) }
    }

    /// To be used at once, while the cells are held.
    package var here: Copy {
        // Without an answer, which no system here gives, it is the last copy.
        let core = Int(sched_getcpu()) & (copies - 1)
        return Copy(cells: memory + core * stride)
    }

    /// What was added to one of the counts so far.
    package subscript(index: Int) -> UInt64 {
        precondition(index < count)
        return (0..<copies).reduce(0) { $0 &+ memory[$1 * stride + index].load(ordering: .relaxed) }
    }

    /// What was added to a row of counts so far.
    package subscript(range: Range<Int>) -> [UInt64] { range.map { self[$0] } }
}
