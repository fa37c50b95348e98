import Affinity
import Testing

// The samples of the guide *Configuration*.

struct MailConfiguration: Sendable {
    var server: String
    var retries: Int
    var patience: Duration
    var password: Secret?

    init(_ reader: ConfigurationReader) {
        let mail = reader.group("mail")
        server = mail.string("server", default: "127.0.0.1:25", doc: "Where mail is handed over.")
        retries = mail.integer("retries", default: 3, in: 0...100, doc: "How often a mail is tried again.")
        patience = mail.duration(
            "patience", default: .seconds(5), in: .milliseconds(1) ... .seconds(600), doc: "How long one try may take.")
        password = mail.secret("password", doc: "What the server wants to hear.")
        if retries > 0 && patience > .seconds(60) {
            mail.reject("patience", "is too long for several tries", expected: "at most 1m, or mail.retries: 0")
        }
    }
}

@Suite struct MailConfigurationTests {
    @Test func mistakesAreReportedTogether() throws {
        let configuration = Configuration.load(
            yaml: """
                mail:
                  retrys: 5
                  patience: 2m
                """)
        _ = MailConfiguration(configuration.reader)
        let error = #expect(throws: ConfigurationError.self) { try configuration.validate() }
        #expect(
            error?.mistakes.map(\.description) == [
                "configuration:2:3: mail.retrys: there is no such key; did you mean mail.retries?",
                "configuration:3:13: mail.patience: is too long for several tries; expected at most 1m, or mail.retries: 0",
            ])
    }
}
