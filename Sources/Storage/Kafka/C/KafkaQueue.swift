internal import AffinityCore
internal import CRdKafka
internal import Synchronization

/// A queue of a client: the owner of one reference to it. It holds the client, which has to outlive it.
struct KafkaQueue: ~Copyable, @unchecked Sendable {
    let handle: OpaquePointer
    private let client: KafkaClient

    /// The queue of everything that has no other.
    init(mainOf client: KafkaClient) throws(LogError) {
        guard let handle = rd_kafka_queue_get_main(client.handle) else { throw LogError(.io, "no Kafka queue") }
        self.handle = handle
        self.client = client
    }

    /// A queue of its own.
    init(of client: KafkaClient) throws(LogError) {
        guard let handle = rd_kafka_queue_new(client.handle) else { throw LogError(.io, "no Kafka queue") }
        self.handle = handle
        self.client = client
    }

    deinit { rd_kafka_queue_destroy(handle) }

    /// Makes whoever waits for the queue return.
    func wakeUp() { rd_kafka_queue_yield(handle) }
}
