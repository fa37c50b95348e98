import AffinityCore
import AffinityTestSupport
import AffinityTesting
import CRdKafka
import Foundation
import Testing

@testable import AffinityKafka

/// TLS and SASL against a broker of their own, and that nobody sees the password.
@Suite(.enabled(if: KafkaCluster.isAvailable, "needs Kafka and Java; scripts/kafka check says what is missing"))
struct KafkaSecurityTests {
    private static let password = "pw-\(UInt64.random(in: .min ... .max))"

    /// Those of Kafka, and whether this librdkafka can log in with them: it says a part of SCRAM's nonce twice before
    /// 2.6.1, which Kafka 4 refuses.
    private static let mechanisms = [
        ("PLAIN", true), ("SCRAM-SHA-256", rd_kafka_version() >= 0x0206_01FF),
        ("SCRAM-SHA-512", rd_kafka_version() >= 0x0206_01FF),
    ]

    @Test func passwordsAndCertificatesAreChecked() throws {
        let fixture = try LogFixture(.kafka)
        try fixture.run {
            let certificates = try Certificates()
            // One broker for all mechanisms: it takes seconds to start.
            let scram = Self.mechanisms.map(\.0).filter { $0.hasPrefix("SCRAM") }
            let cluster = try KafkaCluster(
                securedWith: "SASL_SSL", properties: certificates.brokerProperties(password: Self.password),
                credentials: scram.map { "\($0)=[name=affinity,password=\(Self.password)]" })
            defer { cluster.stop() }
            var written = 0
            for (mechanism, works) in Self.mechanisms {
                let good = [
                    "security.protocol": "sasl_ssl", "sasl.mechanism": mechanism, "sasl.username": "affinity",
                    "sasl.password": Self.password, "ssl.ca.location": certificates.authority,
                ]
                if works {
                    let log = try await log(fixture, cluster, good)
                    let (opened, acks) = try await fixture.open(log)
                    opened.append(0, record("\(mechanism)", "1"))
                    await acks.wait(for: 1)
                    #expect(try await opened.keys(0).last == "\(mechanism)@\(written)")
                    written += 1
                    await log.close()
                } else {
                    try await refuses(fixture, cluster, good)
                }
                for (name, value) in [
                    ("sasl.password", Self.password + "-wrong"), ("sasl.username", "somebody"),
                    ("ssl.ca.location", certificates.other),
                ] {
                    try await refuses(fixture, cluster, good.merging([name: value]) { $1 })
                }
            }
            let said = fixture.reports.texts
            #expect(said.contains { $0.contains("librdkafka") })
            #expect(!said.contains { $0.contains(Self.password) })
            let doubts = fixture.reports.messages.contains("this librdkafka cannot log in at Kafka 4 with SCRAM")
            #expect(doubts == Self.mechanisms.contains { !$0.1 })
        }
    }

    /// Opening fails, in time, and without a word of the password.
    private func refuses(_ fixture: LogFixture, _ cluster: KafkaCluster, _ properties: [String: String]) async throws {
        let log = try await log(fixture, cluster, properties, patience: .seconds(1))
        let error = await #expect(throws: LogError.self) { _ = try await fixture.open(log) }
        #expect(error?.isRetriable == true && error?.reason.contains(Self.password) == false)
        await log.close()
    }

    private func log(
        _ fixture: LogFixture, _ cluster: KafkaCluster, _ properties: [String: String],
        patience: Duration = .seconds(10)
    ) async throws -> KafkaLog {
        try await fixture.kafka {
            $0.brokers = cluster.securedBroker
            $0.patience = patience
            // Everything that librdkafka says of what it does with the password.
            $0.properties = properties.merging(["debug": "security,conf"]) { $1 }
        }
    }
}

/// Certificates of a test: an authority that signs a broker's, and another one that does not.
private struct Certificates {
    private let folder: TemporaryFolder
    var authority: String { folder.path + "/authority.pem" }
    var other: String { folder.path + "/other.pem" }

    init() throws {
        folder = try TemporaryFolder()
        for name in ["authority", "other"] {
            try run([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=\(name)", "-keyout",
                "\(name).key", "-out", "\(name).pem",
            ])
        }
        try "subjectAltName=IP:127.0.0.1,DNS:localhost\n".write(
            toFile: folder.path + "/names", atomically: true, encoding: .utf8)
        try run([
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", "broker.key", "-out",
            "broker.csr",
        ])
        try run([
            "x509", "-req", "-in", "broker.csr", "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial",
            "-days", "2", "-extfile", "names", "-out", "broker.pem",
        ])
        // Kafka wants key and certificate in one file.
        let parts = try ["broker.key", "broker.pem"].map {
            try String(contentsOfFile: "\(folder.path)/\($0)", encoding: .utf8)
        }
        try parts.joined().write(toFile: folder.path + "/keystore.pem", atomically: true, encoding: .utf8)
    }

    /// A listener with TLS and passwords beside the plain one that the script makes.
    func brokerProperties(password: String) -> [String: String] {
        let modules = "org.apache.kafka.common.security"
        let scram = "\(modules).scram.ScramLoginModule required;"
        return [
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.sasl_ssl.plain.sasl.jaas.config":
                "\(modules).plain.PlainLoginModule required user_affinity=\"\(password)\";",
            "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": scram,
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
            "ssl.keystore.type": "PEM", "ssl.keystore.location": folder.path + "/keystore.pem",
        ]
    }

    private func run(_ arguments: [String]) throws {
        let child = try Child("/usr/bin/openssl", arguments, folder: folder.path)
        guard try child.waitForExit() == 0 else { throw Failure(child.text) }
    }
}
