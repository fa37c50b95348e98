/// The logic of one keyspace: subclass it, declare stores as stored properties, and register handlers.
///
/// There is one instance a replica, confined to the replica's actor: handlers are synchronous, run alone in their
/// partition, and cannot reach the instance from anywhere else.
///
///     final class Counters: Partition {
///         let counts = Store<String, Int>("counts")
///
///         override class func register(_ on: Handlers) {
///             on.command(Add.self, add)
///             on.query(Count.self, count)
///         }
///
///         func add(_ add: Add, _ tx: inout Transaction) throws(Rejected) -> Int {
///             tx[counts, add.name, default: 0] += add.by
///             return tx[counts, add.name, default: 0]
///         }
///
///         func count(_ query: Count, _ view: borrowing View) -> Int { view[counts, query.name, default: 0] }
///     }
open class Partition {
    /// Makes the instance of a replica. Override it only to give stored properties their values.
    public required init() {}

    /// Names the handlers. A `class` method, so that a handler cannot capture an instance.
    open class func register(_ on: Handlers) {}

    /// Called when the replica serves as master, before the first command of the epoch.
    open func becameMaster(of partition: PartitionID, epoch: Epoch) {}

    /// Called when the replica stops being master, or begins as a standby.
    open func becameStandby(of partition: PartitionID) {}

    /// Called once, when nothing more will be asked of the replica.
    open func stopping() {}
}
