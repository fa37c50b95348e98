// `import Affinity` is all that a user needs.
@_exported public import AffinityConfiguration
@_exported public import AffinityCore
@_exported public import AffinityGateway
@_exported public import AffinityObservability
