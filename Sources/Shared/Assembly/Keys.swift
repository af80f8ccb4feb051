public import Base
public import Crypto
internal import Glibc

/// The service's own keys. Everything else that is secret is sealed under the first or derived from it.
public struct Keys: Sendable {
    /// Seals accounts' signing keys.
    public let sealer: Sealer
    /// Signs session tokens (HS256).
    public let sessions: Secret
    /// Seals mail that waits, and the codes in it.
    public let mail: Sealer
    /// Makes the digests of codes by mail.
    public let codes: Secret
    /// The rotation key that new did:plc identities are made with.
    public let rotation: SigningKey

    /// Why there are no keys.
    public enum Missing: Error, Equatable, Sendable, CustomStringConvertible {
        case sealingKey(path: String)
        case rotationKey(path: String)
        /// The file is there and is of another sealing key.
        case otherSealingKey(path: String)

        public var description: String {
            switch self {
            case .sealingKey(let path): "there is no sealing key at \(path)"
            case .rotationKey(let path): "there is no rotation key at \(path)"
            case .otherSealingKey(let path): "\(path) was sealed under another sealing key"
            }
        }
    }

    /// The longest sealed rotation key.
    private static let rotationKeySizeMax = 4_096

    /// Reads the keys. With `create`, those that are missing are made: only the tool does that, so that a responder
    /// started in the wrong directory never makes itself a second identity.
    public static func load(
        _ settings: Settings, _ paths: Paths, create: Bool = false, entropy: Entropy = .system
    ) throws -> Keys {
        let root: Secret
        if let given = settings[Settings.sealingKey] {
            // `Settings` has checked the 64 digits.
            root = Secret(given.withBytes { Hex.decode($0) } ?? [])
        } else if create {
            root = try KeyFile.loadOrCreate(paths.sealingKey, entropy: entropy)
        } else if let found = try KeyFile.load(paths.sealingKey) {
            root = found
        } else {
            throw Missing.sealingKey(path: paths.sealingKey)
        }
        let sealer = try Sealer(key: root)
        func derived(_ purpose: Bytes) -> Secret { Secret(HMACSHA256.authenticate(purpose, key: root).bytes) }
        return Keys(
            sealer: sealer, sessions: derived("skystead session tokens, version 1"),
            mail: try Sealer(key: derived("skystead mail, version 1")),
            codes: derived("skystead codes by mail, version 1"),
            rotation: try rotationKey(paths.rotationKey, sealer, create: create, entropy))
    }

    private static let rotationContext: Bytes = "skystead plc rotation key"

    private static func rotationKey(
        _ path: String, _ sealer: Sealer, create: Bool, _ entropy: Entropy
    ) throws -> SigningKey {
        if create, !Files.exists(path) {
            let key = try SigningKey.generate(.k256, entropy: entropy)
            let sealed = try sealer.seal(key.secret, context: rotationContext, entropy: entropy)
            _ = try Files.writeIfAbsent(sealed, to: path, mode: 0o600)
        }
        let sealed: [UInt8]
        do throws(SystemError) {
            sealed = try Files.read(path, sizeMax: rotationKeySizeMax)
        } catch {
            throw error.errno == ENOENT ? Missing.rotationKey(path: path) : error
        }
        guard let secret = try? sealer.open(Bytes(sealed), context: rotationContext) else {
            throw Missing.otherSealingKey(path: path)
        }
        return try SigningKey(algorithm: .k256, secret: secret)
    }
}
