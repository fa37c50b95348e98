import AffinityTestSupport
import Foundation

/// A disk that stops answering: every `fsync` and `fdatasync` of the programs that are started with its environment
/// waits while it hangs, and then does what it should.
///
/// A library that is loaded before C's own stands for the disk, so that it needs no rights and no device; the rest of
/// the process, and RocksDB, is as it always is.
final class HangingDisk: Sendable {
    /// What a program is started with.
    let environment: [String: String]
    private let file: String

    private static let source = """
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>

        static void wait_for_disk(void) {
            const char *file = getenv("HANGING_DISK");
            const struct timespec moment = {0, 1000000};
            while (file && access(file, F_OK) == 0) nanosleep(&moment, NULL);
        }
        int fsync(int descriptor) {
            wait_for_disk();
            return (int)syscall(SYS_fsync, descriptor);
        }
        int fdatasync(int descriptor) {
            wait_for_disk();
            return (int)syscall(SYS_fdatasync, descriptor);
        }
        """

    /// - Parameter folder: where the library is built.
    init(in folder: String) throws {
        file = folder + "/hangs"
        let library = folder + "/hanging-disk.so"
        try Self.source.write(toFile: folder + "/hanging-disk.c", atomically: true, encoding: .utf8)
        let compiler = try Child("/usr/bin/cc", ["-shared", "-fPIC", "-O", "-o", library, folder + "/hanging-disk.c"])
        guard try compiler.waitForExit() == 0 else { throw Failure(compiler.text) }
        environment = ["LD_PRELOAD": library, "HANGING_DISK": file]
    }

    deinit { goOn() }

    /// What has been begun, and whatever is begun from now on, does not end.
    func hang() throws {
        guard FileManager.default.createFile(atPath: file, contents: nil) else { throw Failure("cannot make \(file)") }
    }

    func goOn() { try? FileManager.default.removeItem(atPath: file) }
}
