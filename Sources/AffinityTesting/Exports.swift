// A test names what its partition is made of: commands, stores, rejections.
@_exported public import AffinityCore
