/// Everything that was given, layer over layer; immutable once read.
struct Layers: Sendable {
    var arguments = ArgumentLayer([])
    var environment = EnvironmentLayer([:])
    var file = FileLayer()
    /// Given in code: above the defaults, below everything else.
    var program: [String: String] = [:]

    /// What the layers say about a key, the one that counts first.
    func given(_ key: String) -> [Given] {
        [
            arguments.given[key], environment.given(key), file.given[key],
            program[key].map { Given(.text($0), .program) },
        ].compactMap { $0 }
    }

    /// What is wrong before anybody has read a key.
    var mistakes: [ConfigurationMistake] { file.mistakes + arguments.mistakes }
}
