internal import Synchronization

/// A yes or no that one place sets and any thread reads; the reader learns it, and nothing else, from it.
@usableFromInline final class Flag: Sendable {
    private let value = Atomic(false)

    init() {}

    @usableFromInline var isSet: Bool { value.load(ordering: .relaxed) }

    func set(_ isSet: Bool) { value.store(isSet, ordering: .relaxed) }
}
