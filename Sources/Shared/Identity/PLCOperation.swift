public import ATProto
public import Base
public import Crypto

/// One operation of a did:plc identity's log: the whole state that it has from then on.
/// https://web.plc.directory/spec/v0.1/did-plc
public struct PLCOperation: Sendable, Equatable {
    /// A service of the identity, by its id without `#`.
    public struct Service: Sendable, Equatable {
        public var id: Bytes
        public var type: Bytes
        public var endpoint: Bytes

        public init(id: Bytes, type: Bytes, endpoint: Bytes) {
            self.id = id
            self.type = type
            self.endpoint = endpoint
        }
    }

    /// A verification method by its id without `#`.
    public struct Method: Sendable, Equatable {
        public var id: Bytes
        public var didKey: Bytes

        public init(id: Bytes, didKey: Bytes) {
            self.id = id
            self.didKey = didKey
        }
    }

    /// did:keys that may sign the next operation, the strongest first.
    public var rotationKeys: [Bytes]
    public var verificationMethods: [Method]
    public var alsoKnownAs: [Bytes]
    public var services: [Service]
    /// The CID of the operation before, as text; nil begins an identity.
    public var previous: Bytes?

    public init(
        rotationKeys: [Bytes], verificationMethods: [Method], alsoKnownAs: [Bytes], services: [Service],
        previous: Bytes? = nil
    ) {
        self.rotationKeys = rotationKeys
        self.verificationMethods = verificationMethods
        self.alsoKnownAs = alsoKnownAs
        self.services = services
        self.previous = previous
    }

    /// What an account of a PDS says about itself.
    public init(
        rotationKeys: [VerificationKey], signingKey: VerificationKey, handle: Handle, pds: Bytes,
        previous: Bytes? = nil
    ) {
        self.init(
            rotationKeys: rotationKeys.map(\.didKey),
            verificationMethods: [Method(id: "atproto", didKey: signingKey.didKey)],
            alsoKnownAs: ["at://" + handle.bytes],
            services: [Service(id: "atproto_pds", type: "AtprotoPersonalDataServer", endpoint: pds)],
            previous: previous)
    }

    /// The operation as a value, without its signature.
    var value: Value { .object(entries) }

    private var entries: [Value.Entry] {
        [
            Value.Entry(key: "type", value: .text("plc_operation")),
            Value.Entry(key: "rotationKeys", value: .array(rotationKeys.map { .text($0) })),
            Value.Entry(
                key: "verificationMethods",
                value: .object(verificationMethods.map { Value.Entry(key: $0.id, value: .text($0.didKey)) })),
            Value.Entry(key: "alsoKnownAs", value: .array(alsoKnownAs.map { .text($0) })),
            Value.Entry(
                key: "services",
                value: .object(
                    services.map { service in
                        Value.Entry(
                            key: service.id,
                            value: .object([
                                Value.Entry(key: "type", value: .text(service.type)),
                                Value.Entry(key: "endpoint", value: .text(service.endpoint)),
                            ]))
                    })),
            Value.Entry(key: "prev", value: previous.map { .text($0) } ?? .null),
        ]
    }

    /// Signs with a rotation key: 64 bytes with low S over the SHA-256 of the DAG-CBOR, in unpadded base64url.
    public func signed(by key: SigningKey) throws(CryptoError) -> SignedPLCOperation {
        let signature = try key.sign(SHA256.hash(DAGCBOR.encode(value)))
        let text = Bytes(RadixEncoding.base64URL.encode(signature))
        return SignedPLCOperation(.object(entries + [Value.Entry(key: "sig", value: .text(text))]))
    }

    /// What the operation `value` of a log says, to be changed and signed again; nil for a tombstone and for what is
    /// no operation. The first form of genesis (`create`) is read as what it means.
    public init?(_ value: Value) {
        func texts(_ value: Value?) -> [Bytes]? {
            guard let items = value?.array else { return nil }
            let texts = items.compactMap(\.text)
            return texts.count == items.count ? texts : nil
        }
        switch value["type"]?.text {
        case "plc_operation":
            guard let rotationKeys = texts(value["rotationKeys"]), let alsoKnownAs = texts(value["alsoKnownAs"]),
                case .map(let methods) = value["verificationMethods"], case .map(let services) = value["services"]
            else { return nil }
            self.init(
                rotationKeys: rotationKeys,
                verificationMethods: methods.compactMap { entry in
                    entry.value.text.map { Method(id: entry.key, didKey: $0) }
                }, alsoKnownAs: alsoKnownAs,
                services: services.compactMap { entry in
                    guard let type = entry.value["type"]?.text, let endpoint = entry.value["endpoint"]?.text
                    else { return nil }
                    return Service(id: entry.key, type: type, endpoint: endpoint)
                }, previous: value["prev"]?.text)
            guard verificationMethods.count == methods.count, self.services.count == services.count else { return nil }
        case "create":
            guard let signingKey = value["signingKey"]?.text, let recoveryKey = value["recoveryKey"]?.text,
                let handle = value["handle"]?.text, let service = value["service"]?.text
            else { return nil }
            self.init(
                rotationKeys: [recoveryKey, signingKey],
                verificationMethods: [Method(id: "atproto", didKey: signingKey)],
                alsoKnownAs: [handle.starts(with: "at://") ? handle : "at://" + handle],
                services: [
                    Service(
                        id: "atproto_pds", type: "AtprotoPersonalDataServer",
                        endpoint: service.starts(with: "http") ? service : "https://" + service)
                ])
        default: return nil
        }
    }

    /// Makes `key` the one that signs the repository.
    public mutating func setSigningKey(_ key: VerificationKey) {
        let method = Method(id: "atproto", didKey: key.didKey)
        if let at = verificationMethods.firstIndex(where: { $0.id == method.id }) {
            verificationMethods[at] = method
        } else {
            verificationMethods.append(method)
        }
    }

    /// Puts `handle` in the place of the first handle, or before everything when there was none.
    public mutating func setHandle(_ handle: Handle) {
        let alias = "at://" + handle.bytes
        if let at = alsoKnownAs.firstIndex(where: { $0.starts(with: "at://") }) {
            alsoKnownAs[at] = alias
        } else {
            alsoKnownAs.insert(alias, at: 0)
        }
    }
}

/// An operation with its signature: what the directory takes and keeps.
public struct SignedPLCOperation: Sendable, Equatable {
    public let value: Value
    private let block: [UInt8]

    /// An operation that somebody else signed, as it came: nil when it is no `plc_operation` with a signature. Whether
    /// the signature is good is for the directory to say.
    public init?(signed value: Value) {
        guard value["type"]?.text == "plc_operation", value["sig"]?.text != nil, PLCOperation(value) != nil else {
            return nil
        }
        self.init(value)
    }

    /// `value` must be in DRISL order (`Value.object` and the parsers see to it).
    init(_ value: Value) {
        self.value = value
        block = DAGCBOR.encode(value)
    }

    /// The operation as JSON.
    public var json: Bytes { Bytes(JSON.encode(value)) }

    /// What the next operation names as `prev`.
    public var cid: CID { CID(hashing: block) }

    /// The DID that this operation begins: the first 24 characters of the base 32 of its SHA-256.
    public var did: DID? {
        let digest = RadixEncoding.base32.encode(SHA256.hash(block).bytes)
        return DID("did:plc:" + Bytes(Array(digest.prefix(24))))
    }
}
