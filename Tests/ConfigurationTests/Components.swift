import AffinityConfiguration

/// A component as they are everywhere: a plain struct that reads its keys.
struct GatewayExample: Sendable {
    enum Kind: String, CaseIterable { case local, kafka }

    var listeners: [String]
    var body: ByteCount
    var deadline: Duration
    var held: Int
    var compress: Bool
    var kind: Kind
    var name: String
    var brokers: String?
    var password: Secret?

    init(_ reader: ConfigurationReader) {
        listeners = reader.list(
            "gateway.listeners", default: ["http://127.0.0.1:8080"], count: 1...4, doc: "Where requests come in.")
        body = reader.size(
            "gateway.limits.body", default: .mebibytes(1), in: 1 ... .gibibytes(1), doc: "The longest body.")
        deadline = reader.duration(
            "gateway.deadline", default: .seconds(10), in: .milliseconds(1) ... .seconds(3_600),
            doc: "How long a request may take, unless it says so itself.")
        held = reader.integer(
            "gateway.limits.held", default: 256, in: 1...1_024, unit: "requests", doc: "Requests in flight.")
        compress = reader.boolean("gateway.compress", default: false, doc: "Whether answers are compressed.")
        kind = reader.choice("storage.kind", default: .local, doc: "What keeps the changelogs.")
        name = reader.string("node.id", default: "n1", .name, doc: "The node's name.")
        brokers = reader.string("storage.brokers", doc: "Where Kafka is.")
        password = reader.secret("storage.password", doc: "What Kafka wants to hear.")
        if kind == .kafka, brokers == nil { reader.reject("storage.brokers", "is needed when storage.kind is kafka") }
    }
}

/// Reads the example from those layers; what is wrong comes as lines.
func example(
    _ yaml: String = "", arguments: [String] = [], environment: [String: String] = [:]
) -> (values: GatewayExample, mistakes: [String]) {
    let configuration = Configuration.load(
        yaml: yaml, name: "c.yaml", arguments: arguments, environment: environment)
    let values = GatewayExample(configuration.reader)
    do throws(ConfigurationError) {
        try configuration.validate()
        return (values, [])
    } catch {
        return (values, error.mistakes.map(\.description))
    }
}
