import Foundation

/// What Debian's Chromium makes of a page, without a window.
package enum PageDump {
    static let program = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].first(
        where: FileManager.default.isExecutableFile)

    /// Whether there is a browser; a line says so if there is none.
    package static let isAvailable: Bool = {
        if program == nil { print("chromium is not installed (scripts/setup does it): pages are not looked at") }
        return program != nil
    }()

    /// The page's document when so much of its own time has passed. That time stands still while it waits for answers.
    package static func document(of url: String, after milliseconds: Int = 4_000) throws -> String {
        let folder = try TemporaryFolder()
        return try run(["--dump-dom", url], milliseconds, folder).text
    }

    /// A picture of the page in the file `path`.
    package static func picture(
        of url: String, width: Int, height: Int, to path: String, after milliseconds: Int = 4_000
    ) throws {
        let folder = try TemporaryFolder()
        _ = try run(["--window-size=\(width),\(height)", "--screenshot=\(path)", url], milliseconds, folder)
    }

    private static func run(_ arguments: [String], _ milliseconds: Int, _ folder: TemporaryFolder) throws -> Child {
        guard let program else { throw Failure("there is no Chromium") }
        // Without its sandbox, which does not start as root; the pages are our own. What it says of the machine it runs on
        // is of no interest.
        let options = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--user-data-dir=\(folder.path)/profile", "--virtual-time-budget=\(milliseconds)",
        ]
        let child = try Child(
            "/bin/sh", ["-c", "exec \"$0\" \"$@\" 2>/dev/null", program] + options + arguments)
        guard try child.waitForExit(within: 120) == 0 else { throw Failure("Chromium failed:\n\(child.text)") }
        return child
    }
}
