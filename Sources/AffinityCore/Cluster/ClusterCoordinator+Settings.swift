/// What operators want of the cluster.
extension ClusterCoordinator {
    /// Changes the settings of the system, whatever others change at the same time.
    ///
    /// - Throws: `.io` if there is no session, or ZooKeeper does not answer; `.corrupt` if what stands there cannot be
    ///   read.
    /// - Returns: what stands there now.
    @discardableResult
    package func change(
        _ edit: @Sendable (inout SettingsRecord) -> Void
    ) async throws(CoordinatorError) -> SettingsRecord {
        while true {
            guard let current else { throw CoordinatorError(.io, "there is no session with the coordinator") }
            do throws(TreeError) {
                let node = try await current.session.read(paths.settings, onChange: nil)
                guard var settings = node.map({ SettingsRecord(bytes: $0.data) }) ?? SettingsRecord() else {
                    throw TreeError(.refused, "\(paths.settings) cannot be read")
                }
                let before = settings
                edit(&settings)
                if settings == before { return settings }
                try await current.session.commit([
                    node.map { .set(paths.settings, settings.bytes, version: $0.version) }
                        ?? .create(paths.settings, settings.bytes, isEphemeral: false)
                ])
                touch(.settings, current)
                return settings
            } catch {
                switch error.code {
                case .conflict: continue
                case .refused: throw CoordinatorError(.corrupt, error.reason)
                default: throw CoordinatorError(.io, error.reason)
                }
            }
        }
    }
}
