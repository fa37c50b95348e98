import AffinityConfiguration
import AffinityTestSupport
import Testing

@testable import AffinityGateway

@Suite struct CORSTests {
    private static let shop = "https://shop.example"
    private static let preflight = [
        ("Origin", shop), ("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Headers", "if-match"),
    ]

    /// Asks a gateway with these rules.
    private func ask(
        _ cors: CORS?, _ method: String, _ target: String, _ headers: [(String, String)]
    ) async throws -> HTTPClient.Answer {
        try await withGateway { routes in
            routes.cors = cors
            routes.on("PUT", "/x") { _ in Response(status: 204, headers: [("ETag", "\"1\""), ("Vary", "Accept")]) }
        } _: { port, _ in
            try HTTPClient(port: port).ask(method, target, headers)
        }
    }

    private func names(_ answer: HTTPClient.Answer) -> [String] {
        answer.headers.map(\.name).filter { $0.hasPrefix("Access-Control") }
    }

    @Test func withoutItNothingIsSaid() async throws {
        let answer = try await ask(nil, "PUT", "/x", [("Origin", "http://localhost")])
        #expect(answer.status == 204 && names(answer) == [] && answer.all("Vary") == ["Accept"], "a page of its own")
        let other = try await ask(nil, "PUT", "/x", [("Origin", Self.shop)])
        #expect(other.status == 403 && names(other) == [], "browsers send some of it without a preflight")
        let preflight = try await ask(nil, "OPTIONS", "/x", Self.preflight)
        #expect(preflight.status == 204 && preflight["Allow"] == "OPTIONS, PUT" && names(preflight) == [])
    }

    @Test func aPreflightIsAnsweredForAnyPath() async throws {
        let cors = CORS(origins: ["http://localhost:3000", Self.shop], allowsCredentials: true, maxAge: .seconds(90))
        for target in ["/x", "/nothing"] {
            let answer = try await ask(cors, "OPTIONS", target, Self.preflight)
            #expect(answer.status == 204 && answer.body.isEmpty)
            #expect(answer["Access-Control-Allow-Origin"] == Self.shop)
            #expect(answer["Access-Control-Allow-Methods"] == "GET, HEAD, POST, PUT, PATCH, DELETE")
            #expect(answer["Access-Control-Allow-Headers"]?.contains("If-Match") == true)
            #expect(answer["Access-Control-Allow-Credentials"] == "true" && answer["Access-Control-Max-Age"] == "90")
            #expect(answer["Vary"] == "Origin")
        }
    }

    @Test func anotherOriginIsToldNothing() async throws {
        let cors = CORS(origins: [Self.shop])
        for origin in ["https://shop.example.evil", "http://shop.example", "https://shop.example:8443", "null"] {
            let preflight = try await ask(cors, "OPTIONS", "/x", [("Origin", origin)] + Self.preflight.dropFirst())
            #expect(preflight.status == 204 && names(preflight) == [] && preflight["Vary"] == "Origin")
            let answer = try await ask(cors, "PUT", "/x", [("Origin", origin)])
            #expect(answer.status == 403 && names(answer) == [] && answer.all("Vary") == ["Origin"])
        }
    }

    @Test func answersAndErrorsCanBeRead() async throws {
        let cors = CORS(origins: [Self.shop])
        for (method, target, status) in [("PUT", "/x", 204), ("GET", "/x", 405), ("PUT", "/nothing", 404)] {
            let answer = try await ask(cors, method, target, [("Origin", Self.shop)])
            #expect(answer.status == status && answer["Access-Control-Allow-Origin"] == Self.shop)
            #expect(answer["Access-Control-Expose-Headers"]?.contains("Affinity-Position") == true)
            #expect(answer["Access-Control-Allow-Credentials"] == nil && answer.all("Vary").contains("Origin"))
        }
        let own = try await ask(cors, "PUT", "/x", [])
        #expect(names(own) == [] && own.all("Vary").contains("Origin"))
    }

    @Test func allOriginsNeedNoVary() async throws {
        let answer = try await ask(CORS(origins: ["*"]), "PUT", "/x", [("Origin", "null")])
        #expect(answer["Access-Control-Allow-Origin"] == "*" && answer["Vary"] == "Accept")
    }

    /// A browser opens WebSockets with the user's cookies, whatever page asks: those of all origins may not.
    @Test func allOriginsAreAdmittedWithoutCredentialsAlone() async throws {
        let cookie = ("Cookie", "user=1"), authorization = ("Authorization", "Basic dTpw")
        for (origins, headers, mayOpen, mayWrite) in [
            (["*"], [], true, true), (["*"], [cookie], false, false), (["*"], [authorization], false, false),
            (["*", Self.shop], [cookie, authorization], true, true),
            ([Self.shop], [cookie, authorization], true, true),
        ] {
            try await withGateway { routes in
                routes.cors = CORS(origins: origins)
                routes.on("PUT", "/x") { _ in Response(status: 204) }
                routes.webSocket("/ws", receiving: Int.self, sending: Int.self) { _, _ in }
            } _: { port, _ in
                let headers = [("Origin", Self.shop)] + headers
                let put = try HTTPClient(port: port).ask("PUT", "/x", headers)
                #expect(put.status == (mayWrite ? 204 : 403), "\(origins) \(headers)")
                let client = try HTTPClient(port: port)
                try client.send(WebSocketProbe.handshake("/ws", headers))
                #expect(try client.answer().status == (mayOpen ? 101 : 403), "\(origins) \(headers)")
                // Of the gateway's own origin it is no question.
                let own = [("Origin", "http://localhost"), cookie]
                #expect(try HTTPClient(port: port).ask("PUT", "/x", own).status == 204)
            }
        }
    }

    @Test func mistakesAreFoundWhenTheGatewayIsMade() {
        for cors in [
            CORS(origins: ["*"], allowsCredentials: true), CORS(origins: ["shop.example"]),
            CORS(origins: ["https://shop.example/"]), CORS(origins: ["https://Shop.example"]),
            CORS(origins: ["*"], methods: ["GET, PUT"]), CORS(origins: ["*"], headers: ["a\r\nb"]),
        ] {
            #expect(throws: GatewayError.self, "\(cors)") { try HTTPGateway { $0.cors = cors } }
        }
    }

    @Test func isReadFromTheConfiguration() throws {
        func read(_ yaml: String) -> (CORS?, Configuration) {
            let configuration = Configuration.load(yaml: yaml)
            return (GatewayConfiguration(configuration.reader).cors, configuration)
        }
        #expect(read("").0 == nil && read("gateway: { cors: { max-age: 1s } }").0 == nil)
        let (cors, configuration) = read(
            """
            gateway: { cors: { origins: ["https://shop.example"], exposed: [ETag], credentials: true, max-age: 5s } }
            """)
        try configuration.validate()
        #expect(
            cors
                == CORS(
                    origins: [Self.shop], exposed: ["ETag"], allowsCredentials: true, maxAge: .seconds(5)))
        for mistake in ["origins: [shop]", "{ origins: ['*'], credentials: true }", "methods: ['a b']"] {
            let (_, configuration) = read(
                "gateway: { cors: \(mistake.hasPrefix("{") ? mistake : "{ \(mistake) }") }")
            #expect(throws: ConfigurationError.self, "\(mistake)") { try configuration.validate() }
        }
    }
}
