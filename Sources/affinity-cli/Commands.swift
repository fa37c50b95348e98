/// Every command of the tool, in the order in which `--help` lists them.
let commands: [Subcommand] = [
    .status, .get, .put, .watch,
    .settings, .drain, .undrain, .pause, .resume, .pin, .unpin,
    .config, .doctor, .dumpLog,
]

/// What `affinity --help` prints.
let usage: String = {
    let forms = commands.map { $0.name + ($0.arguments.isEmpty ? "" : " \($0.arguments)") }
    let width = forms.map(\.count).max() ?? 0
    let list = zip(commands, forms).map { "  \($1.padded(to: width))  \($0.summary)" }
    return """
        usage: affinity COMMAND …

        \(list.joined(separator: "\n"))

        affinity COMMAND --help says more. Every command takes --json, for programs.
        \(ExitCode.meanings)
        """
}()
