// swift-tools-version: 6.2
import PackageDescription

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

/// A library target; its module carries the `Affinity` prefix, its folder does not.
func library(_ name: String, path: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, path: "Sources/\(path)", swiftSettings: swiftSettings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], data: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, exclude: data, swiftSettings: swiftSettings)
}

func program(
    _ name: String, path: String, _ dependencies: [Target.Dependency], resources: [Resource] = []
) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies, path: path, resources: resources, swiftSettings: swiftSettings)
}

let package = Package(
    name: "affinity",
    products: [
        .library(name: "Affinity", targets: ["Affinity"]),
        .library(name: "AffinityTesting", targets: ["AffinityTesting"]),
        .executable(name: "KeyValue", targets: ["KeyValue"]),
        .executable(name: "Counter", targets: ["Counter"]),
        .executable(name: "Bank", targets: ["Bank"]),
        .executable(name: "affinity", targets: ["affinity"]),
    ],
    targets: [
        // The distribution's C and C++ libraries, each wrapped once.
        .systemLibrary(name: "CYaml", path: "Sources/CYaml"),
        .systemLibrary(name: "CRdKafka", path: "Sources/CRdKafka"),
        .systemLibrary(name: "CZooKeeper", path: "Sources/CZooKeeper"),
        .systemLibrary(name: "CLinux", path: "Sources/CLinux"),
        .target(
            name: "CRocksDB", path: "Sources/CRocksDB",
            linkerSettings: [.linkedLibrary("rocksdb"), .linkedLibrary("pthread")]),
        .target(
            name: "CBeast", path: "Sources/CBeast",
            linkerSettings: [.linkedLibrary("crypto"), .linkedLibrary("pthread")]),

        // The core: no C library, no leaf.
        library("AffinityCore", path: "AffinityCore"),

        // Threads of the operating system, for the leaves that block.
        library("AffinityThreads", path: "Threads"),

        // Leaves: they depend on the core and never on each other.
        library("AffinityRocksDB", path: "RocksDB", ["CRocksDB"]),
        library("AffinityMemStores", path: "MemStores/Memory", ["AffinityCore"]),
        library("AffinityRocksDBMemStore", path: "MemStores/RocksDB", ["AffinityCore", "AffinityRocksDB"]),
        library("AffinityLocalLog", path: "Storage/Local", ["AffinityCore", "AffinityRocksDB", "AffinityThreads"]),
        library("AffinityKafka", path: "Storage/Kafka", ["AffinityCore", "AffinityThreads", "CRdKafka"]),
        library("AffinityCoordinator", path: "Coordinator/Embedded", ["AffinityCore"]),
        library("AffinityZooKeeper", path: "Coordinator/ZooKeeper", ["AffinityCore", "AffinityThreads", "CZooKeeper"]),
        library("AffinityNet", path: "Net", ["AffinityCore", "CBeast"]),
        library("AffinityTransport", path: "Transport", ["AffinityCore", "AffinityNet"]),
        library("AffinityConfiguration", path: "Configuration", ["CYaml"]),
        library("AffinityObservability", path: "Observability", ["AffinityCore", "AffinityConfiguration", "CLinux"]),
        library(
            "AffinityGateway", path: "Gateway",
            ["AffinityCore", "AffinityNet", "AffinityObservability", "AffinityConfiguration"]),

        // What a user imports.
        library(
            "Affinity", path: "Affinity",
            [
                "AffinityCore", "AffinityMemStores", "AffinityRocksDBMemStore", "AffinityLocalLog", "AffinityKafka",
                "AffinityCoordinator", "AffinityZooKeeper", "AffinityTransport", "AffinityNet", "AffinityGateway",
                "AffinityConfiguration", "AffinityObservability", "AffinityRocksDB",
            ]),
        library(
            "AffinityTesting", path: "AffinityTesting",
            ["AffinityCore", "AffinityMemStores", "AffinityThreads", "AffinityGateway", "AffinityNet"]),

        program(
            "affinity", path: "Sources/affinity-cli",
            [
                "Affinity", "AffinityCore", "AffinityConfiguration", "AffinityGateway", "AffinityObservability",
                "AffinityLocalLog", "AffinityKafka", "AffinityNet", "AffinityRocksDB", "CLinux",
            ]),
        program("KeyValue", path: "Examples/KeyValue", ["Affinity", "AffinityCore"]),
        program("Counter", path: "Examples/Counter", ["Affinity", "AffinityCore"]),
        program(
            "Bank", path: "Examples/Bank", ["Affinity", "AffinityCore"],
            resources: [.embedInCode("Page/page.html")]),
        program("CoreBenchmark", path: "Benchmarks/Core", ["AffinityCore", "AffinityMemStores"]),

        // What scripts/bench measures with.
        .target(
            name: "AffinityBenchmarkSupport",
            dependencies: [
                "AffinityCore", "AffinityNet", "AffinityMemStores", "AffinityRocksDB", "AffinityRocksDBMemStore",
                "AffinityLocalLog", "AffinityKafka", "AffinityCoordinator",
            ],
            path: "Benchmarks/Support", swiftSettings: swiftSettings),
        program("ConstantBenchmark", path: "Benchmarks/Constant", ["AffinityNet", "AffinityBenchmarkSupport"]),
        program(
            "BroadcastBenchmark", path: "Benchmarks/Broadcast", ["AffinityNet", "AffinityBenchmarkSupport"]),
        program(
            "FootprintBenchmark", path: "Benchmarks/Footprint",
            ["AffinityCore", "AffinityMemStores", "AffinityBenchmarkSupport"]),
        program(
            "InProcessBenchmark", path: "Benchmarks/InProcess",
            ["AffinityCore", "AffinityNet", "AffinityBenchmarkSupport"]),
        program(
            "WatchBenchmark", path: "Benchmarks/Watch", ["AffinityNet", "AffinityCore", "AffinityBenchmarkSupport"]),
        program("LoadBenchmark", path: "Benchmarks/Load", ["AffinityCore", "AffinityNet", "AffinityBenchmarkSupport"]),
        .executableTarget(
            name: "KafkaClientBenchmark", path: "Benchmarks/KafkaClient", linkerSettings: [.linkedLibrary("rdkafka")]),
        program(
            "TransportBenchmark", path: "Benchmarks/Transport",
            ["AffinityTransport", "AffinityNet", "AffinityCore", "AffinityBenchmarkSupport"]),
        .executableTarget(
            name: "TransportLimitBenchmark", path: "Benchmarks/TransportLimit",
            linkerSettings: [.linkedLibrary("pthread")]),
        program("SyncedWritesBenchmark", path: "Benchmarks/SyncedWrites", ["CRocksDB", "AffinityBenchmarkSupport"]),

        // What several of the tests use: an HTTP client, a client of topics, processes, folders, waiting.
        .target(
            name: "AffinityTestSupport", dependencies: ["AffinityCore", "CRdKafka"], path: "Tests/TestSupport",
            swiftSettings: swiftSettings),
        // Does to a cluster what machines do: scripts/faults runs it.
        program(
            "ClusterFaults", path: "Tests/ClusterFaults", ["AffinityCore", "AffinityTesting", "AffinityTestSupport"]),
        // Whole clusters on one thread: what happens to them, and what must hold; scripts/simulate runs it.
        .target(
            name: "AffinitySimulation", dependencies: ["AffinityCore", "AffinityTesting"], path: "Tests/Simulation",
            swiftSettings: swiftSettings),
        program("Simulate", path: "Tests/Simulate", ["AffinitySimulation", "AffinityThreads"]),
        tests("SimulationTests", ["AffinitySimulation", "AffinityTestSupport", "Simulate"]),
        // Small scripts, each with what comes of it.
        tests("ScenarioTests", ["AffinityCore", "AffinityTesting", "AffinitySimulation"], data: ["Scenarios"]),
        tests(
            "AffinityCoreTests", ["AffinityCore", "AffinityTesting", "AffinityMemStores", "AffinityTestSupport"]),
        tests(
            "MemStoresTests",
            [
                "AffinityCore", "AffinityTesting", "AffinityMemStores", "AffinityRocksDBMemStore", "AffinityRocksDB",
                "AffinityTestSupport",
            ]),
        tests(
            "StorageTests",
            [
                "AffinityCore", "AffinityTesting", "AffinityLocalLog", "AffinityKafka", "AffinityRocksDB",
                "AffinityTestSupport", "CRdKafka",
            ]),
        tests("NetTests", ["AffinityNet", "AffinityCore", "AffinityTestSupport"], data: ["Clients"]),
        tests("TransportTests", ["AffinityTransport", "AffinityNet", "AffinityCore", "AffinityTestSupport"]),
        tests("ConfigurationTests", ["AffinityConfiguration", "AffinityTestSupport"]),
        tests("ObservabilityTests", ["AffinityObservability", "AffinityConfiguration", "AffinityCore"]),
        tests(
            "CoordinatorTests",
            [
                "AffinityCoordinator", "AffinityZooKeeper", "AffinityCore", "AffinityTesting", "AffinityTestSupport",
                "AffinityThreads", "CZooKeeper",
            ]),
        tests(
            "GatewayTests",
            ["AffinityGateway", "AffinityNet", "AffinityCore", "AffinityConfiguration", "AffinityTestSupport"]),
        // What the guides show, and that they show nothing else.
        tests("GuideTests", ["Affinity", "AffinityTesting", "AffinityTestSupport"]),
        tests(
            "IntegrationTests",
            [
                "Affinity", "AffinityCore", "AffinityNet", "AffinityTesting", "AffinityLocalLog", "AffinityRocksDB",
                "KeyValue", "Counter", "Bank", "affinity", "AffinityTestSupport",
            ]),
        // Starts the programs and does to them what machines do.
        tests(
            "FaultTests",
            [
                "AffinityCore", "AffinityNet", "AffinityLocalLog", "AffinityRocksDB", "AffinityRocksDBMemStore",
                "AffinityKafka", "AffinityCoordinator", "AffinityMemStores", "CRdKafka", "KeyValue", "Counter",
                "AffinityTestSupport",
            ]),
    ],
    cxxLanguageStandard: .cxx20
)
