/// What a thing does when nobody else uses it: the meaning of its operations, one after the other.
///
/// A state may leave open what the replies have not told yet: the version that a write without an answer was given, for
/// instance. Then a reply that tells it leads to a state that says it. What fits a state has to fit one that leaves
/// more open.
public protocol SequentialModel: Sendable {
    /// What operations leave behind.
    associatedtype State: Hashable & Sendable
    /// What is asked for.
    associatedtype Input: Hashable & Sendable
    /// What is answered.
    associatedtype Reply: Hashable & Sendable

    /// The state before the first operation.
    var initial: State { get }

    /// The state after `input` was carried out in `state` and answered with `reply`; `nil` if that cannot be.
    ///
    /// `reply` is `nil` if the answer is not known: then what counts is that it had an effect.
    func apply(_ input: Input, _ reply: Reply?, to state: State) -> State?

    // MARK: - What saves work

    /// Whether `input` changes nothing if that is the reply: then it is carried out as soon as it fits.
    ///
    /// `reply` is `nil` if the answer is not known.
    func isRead(_ input: Input, _ reply: Reply?) -> Bool

    /// Whether `input` may still be answered with `reply` in `state` or later, whatever is carried out before.
    func mayFollow(_ input: Input, _ reply: Reply, _ state: State) -> Bool

    /// Whether all that fits `other`, then and later, fits `state` as well.
    func isAsOpen(_ state: State, as other: State) -> Bool
}

extension SequentialModel {
    /// Unless you say otherwise, everything may write.
    public func isRead(_ input: Input, _ reply: Reply?) -> Bool { false }

    /// Unless you say otherwise, everything may follow.
    public func mayFollow(_ input: Input, _ reply: Reply, _ state: State) -> Bool { true }

    /// Unless you say otherwise, a state is as open as itself.
    public func isAsOpen(_ state: State, as other: State) -> Bool { state == other }
}
